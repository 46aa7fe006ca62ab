use std::sync::Arc;

use faasm_mpi_shim::port::{Header, Kind, Payload};

use super::mailbox::{Mailbox, Reader};

fn header(sender: u32, number: u32) -> Header {
    Header { kind: Kind::Eager, context: 1, source: -1, tag: i32::MIN, sender, request: number }
}

#[test]
fn every_length_survives_and_order_is_kept() {
    let (mailbox, mut reader) = (Mailbox::new(16), Reader::default());
    for round in 0..50 {
        for len in [0, 1, 7, 8, 31, 32, 33, 88, 89, 255, 256, 257, 5000] {
            let payload: Vec<u8> = (0..len).map(|byte| (byte * 7 + round) as u8).collect();
            mailbox.push(header(3, len as u32), &payload);
            if len % 2 == 0 {
                continue;
            }
            while let Some(message) = reader.pop(&mailbox) {
                let len = message.header.request as usize;
                let expected: Vec<u8> = (0..len).map(|byte| (byte * 7 + round) as u8).collect();
                let taken = match message.payload {
                    Payload::Small(len, bytes) => bytes[..usize::from(len)].to_vec(),
                    Payload::Owned(bytes) => bytes.into_vec(),
                    other => panic!("nothing was sent as {other:?}"),
                };
                assert_eq!(message.header, header(3, len as u32));
                assert_eq!(taken, expected);
            }
        }
        while reader.pop(&mailbox).is_some() {}
    }
}

#[test]
fn messages_of_each_sender_arrive_once_and_in_order_under_contention() {
    const SENDERS: u32 = 3;
    const EACH: u32 = 20_000;
    let mailbox = Arc::new(Mailbox::new(8));
    let threads: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let mailbox = mailbox.clone();
            std::thread::spawn(move || {
                for number in 0..EACH {
                    let len = (number * 13 + sender) as usize % 150;
                    mailbox.push(header(sender, number), &vec![sender as u8; len]);
                }
            })
        })
        .collect();
    let mut reader = Reader::default();
    let mut next = [0; SENDERS as usize];
    while next.iter().sum::<u32>() < SENDERS * EACH {
        let Some(message) = reader.pop(&mailbox) else {
            std::thread::yield_now();
            continue;
        };
        let expected = &mut next[message.header.sender as usize];
        assert_eq!(message.header.request, *expected, "order of one sender");
        *expected += 1;
    }
    threads.into_iter().for_each(|thread| thread.join().expect("senders do not panic"));
    assert!(reader.pop(&mailbox).is_none());
}
