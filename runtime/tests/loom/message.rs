//! Mailboxes: many senders, one receiver that sleeps when nothing is there.

use faasm_mpi_shim::port::{Header, Kind, Message};
use loom::sync::Arc;
use loom::thread;

#[path = "../../src/message/mailbox.rs"]
mod mailbox;
#[path = "../../src/message/ring.rs"]
mod ring;

use crate::explore;
use mailbox::{Mailbox, Reader};

fn header(sender: u32, number: u32) -> Header {
    Header { kind: Kind::Eager, context: 1, source: 0, tag: 0, sender, request: number }
}

/// Takes what is there; each sender's messages must come in order, with the bytes that were sent.
fn take_all(reader: &mut Reader, mailbox: &Mailbox, next: &mut [u32]) {
    while let Some(Message { header, payload }) = reader.pop(mailbox) {
        let expected = &mut next[header.sender as usize];
        assert_eq!(header.request, *expected, "sender {}", header.sender);
        assert_eq!(payload.bytes(), [header.request as u8; 9]);
        *expected += 1;
    }
}

/// `counts` tells how many messages each sender has, `lines` how many of them the ring can hold.
fn messages_arrive(lines: usize, counts: &'static [u32]) {
    let mailbox = Arc::new(Mailbox::new(lines));
    let senders: Vec<_> = (0..)
        .zip(counts)
        .map(|(sender, count)| {
            let mailbox = mailbox.clone();
            thread::spawn(move || {
                for number in 0..*count {
                    mailbox.push(header(sender, number), &[number as u8; 9]);
                }
            })
        })
        .collect();
    let (mut reader, mut next) = (Reader::default(), vec![0; counts.len()]);
    take_all(&mut reader, &mailbox, &mut next);
    senders.into_iter().for_each(|sender| sender.join().expect("senders do not panic"));
    take_all(&mut reader, &mailbox, &mut next);
    assert_eq!(next, counts, "nothing is lost");
}

#[test]
fn messages_of_one_sender_keep_their_order_when_the_ring_is_too_small() {
    explore(3, || messages_arrive(1, &[3]));
}

#[test]
fn messages_of_two_senders_share_a_ring() {
    explore(2, || messages_arrive(2, &[2, 1]));
}

/// Either the receiver finds the message before it sleeps, or the sender finds that it is to be woken.
fn nobody_sleeps_beside_a_message(lines: usize, filled: u32) {
    let mailbox = Arc::new(Mailbox::new(lines));
    let (mut reader, mut next) = (Reader::default(), vec![0]);
    for number in 0..filled {
        mailbox.push(header(0, number), &[number as u8; 9]);
    }
    let sender = {
        let mailbox = mailbox.clone();
        thread::spawn(move || {
            mailbox.push(header(0, filled), &[filled as u8; 9]);
            mailbox.take_waiting()
        })
    };
    take_all(&mut reader, &mailbox, &mut next);
    mailbox.set_waiting();
    let sleeps = !reader.is_ready(&mailbox) && next == [filled];
    let is_woken = sender.join().expect("senders do not panic");
    assert!(is_woken || !sleeps, "the receiver sleeps for ever");
    mailbox.clear_waiting();
    take_all(&mut reader, &mailbox, &mut next);
    assert_eq!(next, [filled + 1]);
}

#[test]
fn a_receiver_that_falls_asleep_is_woken() {
    explore(3, || nobody_sleeps_beside_a_message(1, 0));
}

#[test]
fn a_receiver_that_falls_asleep_is_woken_from_the_overflow_too() {
    explore(3, || nobody_sleeps_beside_a_message(1, 1));
}
