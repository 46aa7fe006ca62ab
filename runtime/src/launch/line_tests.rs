//! Conversations with the line merger, and one with random pieces.

use super::*;

const LIMITS: Limits = Limits { line_bytes_max: 64, deferred_bytes_max: 32 };
const TERMINAL: Limits = Limits { deferred_bytes_max: 0, ..LIMITS };
const A: Source = (0, Stream::Stdout);
const B: Source = (1, Stream::Stdout);
const B_ERR: Source = (1, Stream::Stderr);

/// A merger with a clock that only moves when told, and what has come out so far.
struct Conversation {
    merger: LineMerger,
    now: Instant,
    out: Vec<u8>,
}

impl Conversation {
    fn new(limits: Limits, tagged: bool) -> Self {
        let tags = if tagged { Tags::Rank } else { Tags::None };
        Self { merger: LineMerger::new(limits, tags), now: Instant::now(), out: Vec::new() }
    }

    fn write(&mut self, source: Source, text: &str) -> &mut Self {
        self.merger.write(source, text.as_bytes(), self.now, &mut self.out);
        self
    }

    fn close(&mut self, source: Source) -> &mut Self {
        self.merger.close(source, &mut self.out);
        self
    }

    fn wait(&mut self) -> &mut Self {
        self.now += PATIENCE;
        self.merger.tick(self.now, &mut self.out);
        self
    }

    fn finish(&mut self) -> &mut Self {
        self.merger.finish(&mut self.out);
        self
    }

    /// What came out since the last call.
    fn expect(&mut self, expected: &str) -> &mut Self {
        assert_eq!(String::from_utf8(std::mem::take(&mut self.out)).expect("ASCII"), expected);
        self
    }
}

#[test]
fn lines_pass_and_pieces_are_put_together() {
    let mut c = Conversation::new(LIMITS, false);
    c.write(A, "one\ntwo\nthr").expect("one\ntwo\n");
    c.write(B, "b").expect("").write(A, "ee").expect("");
    c.write(B, "b\n").expect("bb\n").write(A, "\n").expect("three\n");
    assert!(!c.merger.wants_tick());
}

#[test]
fn tags_stand_before_each_line_once() {
    let mut c = Conversation::new(LIMITS, true);
    c.write(A, "x\n\ny").expect("[1,0]<stdout>: x\n[1,0]<stdout>: \n");
    c.write(B_ERR, "e\n").expect("[1,1]<stderr>: e\n");
    c.wait()
        .expect("[1,0]<stdout>: y")
        .write(A, "z")
        .expect("z")
        .write(A, "\nw\n")
        .expect("\n[1,0]<stdout>: w\n");
}

#[test]
fn tags_name_the_host_of_a_rank_of_several() {
    let hosts: Vec<Arc<str>> = ["a", "b"].map(Into::into).into();
    let mut merger = LineMerger::new(LIMITS, Tags::RankAndHost(hosts.into()));
    let mut out = Vec::new();
    merger.write(B, b"x\n", Instant::now(), &mut out);
    merger.write((7, Stream::Stderr), b"y\n", Instant::now(), &mut out);
    assert_eq!(out, b"[1,1][b]<stdout>: x\n[1,7][?]<stderr>: y\n");
    out.clear();
    merger.moved(1, "c");
    merger.moved(7, "c");
    merger.write(B, b"x\n", Instant::now(), &mut out);
    assert_eq!(out, b"[1,1][c]<stdout>: x\n");
}

#[test]
fn a_prompt_appears_and_holds_the_stream() {
    let mut c = Conversation::new(LIMITS, false);
    c.write(A, "n? ").expect("").wait().expect("n? ");
    c.write(B, "hello\n").expect("").write(A, "thanks\nnext").expect("thanks\nhello\n");
    c.close(A).expect("next").finish().expect("");
}

#[test]
fn on_a_terminal_a_prompt_does_not_hide_others() {
    let mut c = Conversation::new(TERMINAL, false);
    c.write(A, "n? ").wait().expect("n? ").write(B, "hello\n").expect("\nhello\n");
    c.write(A, "thanks\n").expect("thanks\n");
}

#[test]
fn patience_counts_from_the_first_byte_and_serves_the_oldest() {
    let mut c = Conversation::new(LIMITS, false);
    c.write(B, "b");
    c.now += PATIENCE / 2;
    c.write(A, "a").write(B, "b");
    let due = c.now + PATIENCE / 2;
    assert_eq!(c.merger.tick(c.now, &mut c.out), Some(due));
    c.expect("");
    c.now = due;
    assert_eq!(c.merger.tick(c.now, &mut c.out), None);
    c.expect("bb");
    assert!(!c.merger.wants_tick(), "a held stream needs no clock");
    c.write(B, "\n").expect("\n");
    assert!(c.merger.wants_tick(), "the other one has its turn");
    c.wait().expect("a");
}

#[test]
fn what_is_deferred_is_bounded() {
    let mut c = Conversation::new(LIMITS, false);
    c.write(A, "held").wait().expect("held");
    let line = "a line of sixteen";
    c.write(B, &format!("{line}\n")).expect("");
    c.write(B, &format!("{line}\n")).expect(&format!("\n{line}\n{line}\n"));
    c.write(A, " on\n").expect(" on\n");
}

#[test]
fn a_long_line_is_not_kept() {
    let mut c = Conversation::new(LIMITS, false);
    let long = "x".repeat(65);
    c.write(A, &long).expect(&long).write(A, "y").expect("y");
    c.write(B, &long).expect(&format!("\n{long}"));
    assert!(c.merger.unfinished.is_empty());
}

#[test]
fn a_last_line_without_end_stays_so() {
    let mut c = Conversation::new(LIMITS, false);
    c.write(A, "end").close(A).expect("end").finish().expect("");
    c.write(B, "x\n").expect("\nx\n");
    let mut c = Conversation::new(LIMITS, false);
    c.write(B, "b").write(A, "a").finish().expect("a\nb");
}

#[test]
fn what_was_deferred_comes_when_the_holder_closes() {
    let mut c = Conversation::new(LIMITS, false);
    c.write(A, "a").wait().expect("a").write(B, "b\n").expect("").close(A).expect("\nb\n");
}

#[test]
fn who_closes_in_the_middle_of_a_line_does_not_break_that_of_the_holder() {
    let mut c = Conversation::new(LIMITS, false);
    c.write(A, "a").wait().expect("a").write(B, "b").close(B).expect("");
    c.write(A, "a\n").expect("a\nb\n");
}

#[test]
fn our_own_messages_stand_on_their_own_lines() {
    let mut c = Conversation::new(LIMITS, false);
    c.write(A, "a").wait().expect("a").write(B, "b\n").expect("");
    c.merger.message(b"ours\n", &mut c.out);
    c.expect("\nb\nours\n");
}

/// Numbers that depend on nothing but the seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("a remainder of a usize")
    }
}

/// Sources write lines in pieces of random length at random times. The lines that come out must be
/// those that went in, in order for each source, and whole: with limits that are never reached no
/// line end is added.
#[test]
fn random_pieces_come_out_as_whole_lines() {
    const SOURCES: usize = 7;
    for seed in 1..=200 {
        let random = &mut Random(seed);
        let limits = Limits { line_bytes_max: 8, deferred_bytes_max: usize::MAX };
        let limits =
            if seed % 2 == 0 { limits } else { Limits { line_bytes_max: 1 << 20, ..limits } };
        let mut c = Conversation::new(limits, false);
        let texts: Vec<String> = (0..SOURCES)
            .map(|s| {
                (0..random.below(20))
                    .map(|i| format!("{s}:{i}{}\n", "-".repeat(random.below(9))))
                    .collect()
            })
            .collect();
        let mut at = [0; SOURCES];
        while let Some(first) = (0..SOURCES).find(|s| at[*s] < texts[*s].len()) {
            let s = (first + random.below(SOURCES)) % SOURCES;
            let piece = random.below(6).min(texts[s].len() - at[s]);
            c.write((s as u32, Stream::Stdout), &texts[s][at[s]..at[s] + piece]);
            at[s] += piece;
            if random.below(4) == 0 {
                c.wait();
            }
        }
        c.finish();
        let out = String::from_utf8(c.out).expect("ASCII");
        let check = |lines: Vec<&str>, text: &str| {
            assert_eq!(lines, text.lines().collect::<Vec<_>>(), "seed {seed}")
        };
        if seed % 2 == 1 {
            for (s, text) in texts.iter().enumerate() {
                let own = format!("{s}:");
                check(out.lines().filter(|line| line.starts_with(&own)).collect(), text);
            }
        }
        assert_eq!(
            sorted(out.bytes().filter(|b| *b != b'\n')),
            sorted(texts.concat().bytes().filter(|b| *b != b'\n')),
            "seed {seed}"
        );
    }
}

fn sorted(bytes: impl Iterator<Item = u8>) -> Vec<u8> {
    let mut bytes: Vec<u8> = bytes.collect();
    bytes.sort_unstable();
    bytes
}
