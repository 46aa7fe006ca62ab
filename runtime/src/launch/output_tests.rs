//! The multiplexer on real pipes and files.

use std::{
    fs,
    io::{BufRead as _, BufReader, PipeReader, PipeWriter, Read as _, pipe},
    sync::mpsc,
};

use super::*;

fn options() -> MultiplexerOptions {
    MultiplexerOptions { ranks: 4, ..MultiplexerOptions::default() }
}

/// A multiplexer on two pipes.
fn piped(options: MultiplexerOptions) -> (Multiplexer, PipeReader, PipeReader) {
    let (stdout, stdout_writer) = pipe().expect("a pipe");
    let (stderr, stderr_writer) = pipe().expect("a pipe");
    (on(options, &stdout_writer, &stderr_writer), stdout, stderr)
}

fn on(options: MultiplexerOptions, stdout: &PipeWriter, stderr: &PipeWriter) -> Multiplexer {
    Multiplexer::with_targets(options, [stdout.as_fd(), stderr.as_fd()], |failure| {
        panic!("{failure}")
    })
    .expect("pipes can be duplicated")
}

fn rest(mut reader: impl io::Read) -> String {
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("UTF-8 from a pipe");
    text
}

#[test]
fn streams_stay_apart() {
    let (mux, stdout, stderr) = piped(options());
    mux.write(0, Stream::Stdout, b"out\n");
    mux.write(0, Stream::Stderr, b"err");
    mux.close(0);
    drop(mux);
    assert_eq!((rest(stdout), rest(stderr)), ("out\n".to_owned(), "err".to_owned()));
}

#[test]
fn standard_error_may_be_merged_and_tagged() {
    let (mux, stdout, stderr) =
        piped(MultiplexerOptions { merge_stderr: true, tagged: true, ..options() });
    mux.write(3, Stream::Stderr, b"err\n");
    drop(mux);
    assert_eq!((rest(stdout), rest(stderr)), ("[1,3]<stdout>: err\n".to_owned(), String::new()));
}

#[test]
fn lines_stay_whole_when_both_streams_are_one() {
    let (reader, writer) = pipe().expect("a pipe");
    let mux = on(options(), &writer, &writer);
    mux.write(0, Stream::Stdout, b"o");
    mux.write(1, Stream::Stderr, b"e");
    mux.write(0, Stream::Stdout, b"o\n");
    mux.write(1, Stream::Stderr, b"e\n");
    drop((mux, writer));
    assert_eq!(rest(reader), "oo\nee\n");
}

#[test]
fn a_prompt_appears_without_its_line_end() {
    let (mux, mut stdout, _stderr) = piped(options());
    for _ in 0..2 {
        mux.write(0, Stream::Stdout, b"n? ");
        let mut prompt = [0; 3];
        stdout.read_exact(&mut prompt).expect("the prompt");
        assert_eq!(&prompt, b"n? ");
        mux.write(0, Stream::Stdout, b"\n");
        stdout.read_exact(&mut prompt[..1]).expect("the line end");
    }
}

#[test]
fn files_hold_what_each_rank_wrote() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a/b");
    fs::create_dir_all(path.join("rank.2")).expect("a directory");
    fs::write(path.join("rank.2/stdout"), "of an earlier job").expect("a file");
    let files = MultiplexerOptions { files: Some(path.clone()), ..options() };
    for only_files in [false, true] {
        let (mux, stdout, _stderr) = piped(MultiplexerOptions { only_files, ..files.clone() });
        mux.write(1, Stream::Stdout, b"one ");
        mux.write(1, Stream::Stderr, b"err");
        mux.write(1, Stream::Stdout, b"line\n");
        drop(mux);
        assert_eq!(rest(stdout), if only_files { "" } else { "one line\n" });
        let read = |file| fs::read_to_string(path.join(file)).expect(file);
        assert_eq!(
            (read("rank.1/stdout"), read("rank.1/stderr")),
            ("one line\n".into(), "err".into())
        );
        assert_eq!(read("rank.2/stdout"), "");
    }
}

#[test]
fn files_that_cannot_be_created_are_an_error_with_their_path() {
    let files = Some(PathBuf::from("/dev/null/out"));
    let (_, writer) = pipe().expect("a pipe");
    let error = Multiplexer::with_targets(
        MultiplexerOptions { files, ..options() },
        [writer.as_fd(); 2],
        |_| {},
    )
    .expect_err("/dev/null is no directory");
    assert!(error.to_string().contains("/dev/null/out/rank.0"), "{error}");
}

#[test]
fn a_reader_that_leaves_is_reported_once() {
    let (reader, writer) = pipe().expect("a pipe");
    let (sender, failures) = mpsc::channel();
    let on_failure = move |failure| sender.send(failure).expect("the test waits");
    let mux =
        Multiplexer::with_targets(options(), [writer.as_fd(); 2], on_failure).expect("a pipe");
    drop(reader);
    for _ in 0..3 {
        mux.write(0, Stream::Stdout, b"line\n");
    }
    drop(mux);
    let failures: Vec<_> = failures.iter().collect();
    assert!(matches!(failures[..], [OutputFailure::Closed(Stream::Stdout)]), "{failures:?}");
}

#[test]
fn messages_of_ours_come_between_lines() {
    let (mux, _stdout, stderr) = piped(options());
    mux.write(0, Stream::Stderr, b"un");
    mux.message("ours\n");
    mux.write(0, Stream::Stderr, b"finished\n");
    drop(mux);
    assert_eq!(rest(stderr), "ours\nunfinished\n");
}

/// Many threads print at once; each line must come out whole and in its rank's order.
#[test]
fn threads_do_not_mix_lines() {
    const LINES: u32 = 300;
    let (mux, stdout, _stderr) = piped(options());
    let reader = std::thread::spawn(move || {
        BufReader::new(stdout).lines().collect::<Result<Vec<_>, _>>().expect("UTF-8 from a pipe")
    });
    std::thread::scope(|scope| {
        for rank in 0..4 {
            let mux = &mux;
            scope.spawn(move || {
                for line in 0..LINES {
                    mux.write(rank, Stream::Stdout, format!("{rank} ").as_bytes());
                    mux.write(rank, Stream::Stdout, format!("{line}\n").as_bytes());
                }
            });
        }
    });
    drop(mux);
    let lines = reader.join().expect("the reader");
    assert_eq!(lines.len(), 4 * LINES as usize);
    for rank in 0..4 {
        let own = format!("{rank} ");
        let numbers = lines.iter().filter_map(|line| line.strip_prefix(&own));
        assert!(
            numbers.eq((0..LINES).map(|line| line.to_string()).collect::<Vec<_>>()),
            "rank {rank}"
        );
    }
}
