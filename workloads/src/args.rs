//! Understands a gcc-style command line: what is asked for, and what to hand to clang.
//!
//! This is pure: it reads no file and starts nothing. clang itself understands nearly every option, so the
//! work here is to learn the little that the driver must know (is there a link step, are there C++ sources)
//! and to handle what clang for WebAssembly would reject. [`rules`](crate::rules) lists those options.

use crate::{
    error::{Error, Result},
    rules::{self, Treatment},
};

/// How far a command line goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Compile and link.
    Link,
    /// Stop after objects or assembler text.
    Compile,
    /// Stop after preprocessing or syntax checks.
    Preprocess,
    /// Nothing to compile: clang answers a question such as `-dumpmachine`.
    Query,
}

/// What `-show` and its relatives ask to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    /// The whole command.
    Command,
    /// The options for compiling.
    Compile,
    /// The options for linking.
    Link,
    /// The include directories.
    IncludeDirectories,
    /// The library directories.
    LibraryDirectories,
    /// The library names.
    Libraries,
}

/// A command line, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// How far to go.
    pub(crate) stage: Stage,
    /// Whether the command is g++ rather than gcc: sources are C++ whatever their suffix.
    pub(crate) cxx_driver: bool,
    /// Whether C++ is compiled or linked.
    pub(crate) cxx: bool,
    /// Whether C++ exceptions are wanted.
    pub(crate) exceptions: bool,
    /// Whether the link optimises over all files.
    pub(crate) lto: bool,
    /// Whether the user brings his own start files and libraries.
    pub(crate) bare: bool,
    /// Whether the module has no main function, only exports to be called.
    pub(crate) reactor: bool,
    /// Whether the program has threads.
    pub(crate) threads: bool,
    /// Whether it uses OpenMP.
    pub(crate) openmp: bool,
    /// What to print instead of running.
    pub(crate) show: Option<Show>,
    /// What clang gets, in the user's order.
    pub(crate) forwarded: Vec<String>,
    /// What the user should know about options that have no effect.
    pub(crate) notes: Vec<String>,
}

impl Plan {
    /// Understands `arguments`, which exclude the program's name and hold no response files any more.
    ///
    /// # Errors
    /// Fails when an option is refused or lacks its value.
    pub(crate) fn parse(arguments: Vec<String>, cxx_driver: bool) -> Result<Self> {
        let mut parser = Parser::new(cxx_driver);
        let mut rest = arguments.into_iter();
        while let Some(argument) = rest.next() {
            parser.take(argument, &mut rest)?;
        }
        Ok(parser.finish())
    }
}

struct Parser {
    plan: Plan,
    stage: Stage,
    has_input: bool,
    language_is_cxx: Option<bool>,
}

impl Parser {
    fn new(cxx: bool) -> Self {
        let plan = Plan {
            stage: Stage::Link,
            cxx_driver: cxx,
            cxx,
            exceptions: true,
            lto: false,
            bare: false,
            reactor: false,
            threads: false,
            openmp: false,
            show: None,
            forwarded: Vec::new(),
            notes: Vec::new(),
        };
        Self { plan, stage: Stage::Link, has_input: false, language_is_cxx: None }
    }

    fn take(&mut self, argument: String, rest: &mut impl Iterator<Item = String>) -> Result<()> {
        if !argument.starts_with('-') || argument == "-" {
            self.input(argument);
            return Ok(());
        }
        if let Some(show) = show_request(&argument) {
            self.plan.show = Some(show);
            return Ok(());
        }
        // `-I dir` is `-Idir`: one spelling for the tables.
        let argument = match argument.as_str() {
            "-I" | "-L" | "-l" => format!("{argument}{}", value_of(&argument, rest)?),
            _ => argument,
        };
        if let Some(list) = argument.strip_prefix("-Wl,") {
            self.linker_options(list);
            return Ok(());
        }
        match rules::treatment(&argument) {
            Treatment::Forward => {
                let separate = rules::takes_value(&argument);
                let value = if separate { Some(value_of(&argument, rest)?) } else { None };
                self.observe(&argument, value.as_deref());
                self.plan.forwarded.push(argument);
                self.plan.forwarded.extend(value);
            }
            Treatment::Drop => {}
            Treatment::DropWithValue => drop(value_of(&argument, rest)?),
            Treatment::Note(note) => self.note(format!("{argument}: {note}")),
            Treatment::Replace(options) => {
                options.iter().for_each(|option| self.observe(option, None));
                self.plan.forwarded.extend(options.iter().map(|&option| option.to_owned()));
            }
            Treatment::Refuse(reason) => {
                return Err(Error::Refused { option: argument, reason: reason.to_owned() });
            }
        }
        Ok(())
    }

    fn input(&mut self, argument: String) {
        self.has_input = true;
        let cxx = self.language_is_cxx.unwrap_or_else(|| has_cxx_suffix(&argument));
        self.plan.cxx |= cxx;
        self.plan.forwarded.push(argument);
    }

    /// Learns what the driver must know from an option that is forwarded.
    fn observe(&mut self, option: &str, value: Option<&str>) {
        match option {
            "-c" | "-S" => self.stage = self.stage.max(Stage::Compile),
            "-E" | "-M" | "-MM" | "-fsyntax-only" => self.stage = Stage::Preprocess,
            "-fno-exceptions" => self.plan.exceptions = false,
            "-fexceptions" | "-fwasm-exceptions" => self.plan.exceptions = true,
            "-fno-lto" => self.plan.lto = false,
            "-nostdlib" | "-nostartfiles" | "-nodefaultlibs" | "-r" => self.plan.bare = true,
            "-mexec-model=reactor" => self.plan.reactor = true,
            "-pthread" => self.plan.threads = true,
            "-no-pthread" => self.plan.threads = false,
            "-fopenmp" => self.set_openmp(true),
            "-fno-openmp" => self.set_openmp(false),
            "-lc++" => self.plan.cxx = true,
            "-x" => self.set_language(value.unwrap_or("none")),
            _ if option.starts_with("-flto") => self.plan.lto = true,
            _ if option.starts_with("-l") => self.has_input = true,
            _ => {
                if let Some(language) = option.strip_prefix("-x") {
                    self.set_language(language);
                }
            }
        }
    }

    fn set_openmp(&mut self, on: bool) {
        self.plan.openmp = on;
        self.plan.threads |= on;
    }

    fn set_language(&mut self, language: &str) {
        self.language_is_cxx = match language {
            "none" => None,
            language => Some(language.starts_with("c++")),
        };
    }

    fn linker_options(&mut self, list: &str) {
        let mut kept: Vec<&str> = Vec::new();
        let mut parts = list.split(',');
        while let Some(part) = parts.next() {
            match rules::linker_treatment(part) {
                Treatment::DropWithValue => drop(parts.next()),
                Treatment::Drop => {}
                Treatment::Note(note) => self.note(format!("-Wl,{part}: {note}")),
                _ => {
                    self.plan.reactor |= part == "--no-entry";
                    kept.push(part);
                }
            }
        }
        if !kept.is_empty() {
            self.plan.forwarded.push(format!("-Wl,{}", kept.join(",")));
        }
    }

    fn note(&mut self, note: String) {
        if !self.plan.notes.contains(&note) {
            self.plan.notes.push(note);
        }
    }

    fn finish(mut self) -> Plan {
        self.plan.stage = if self.has_input { self.stage } else { Stage::Query };
        self.plan
    }
}

fn value_of(option: &str, rest: &mut impl Iterator<Item = String>) -> Result<String> {
    rest.next().ok_or_else(|| Error::MissingValue { option: option.to_owned() })
}

fn has_cxx_suffix(path: &str) -> bool {
    let suffix = path.rsplit_once('.').map_or("", |(_, suffix)| suffix);
    matches!(suffix, "C" | "cc" | "cp" | "cpp" | "CPP" | "cxx" | "c++" | "ii" | "cppm" | "ixx")
}

fn show_request(argument: &str) -> Option<Show> {
    let name = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'))?;
    Some(match name {
        "show" | "showme" | "showme:command" | "show:command" => Show::Command,
        "showme:compile" | "compile_info" | "compile-info" => Show::Compile,
        "showme:link" | "link_info" | "link-info" => Show::Link,
        "showme:incdirs" => Show::IncludeDirectories,
        "showme:libdirs" => Show::LibraryDirectories,
        "showme:libs" => Show::Libraries,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Plan {
        let words = line.split_whitespace().map(str::to_owned).collect();
        Plan::parse(words, false).expect(line)
    }

    fn refused(line: &str) -> String {
        let words = line.split_whitespace().map(str::to_owned).collect();
        Plan::parse(words, false).expect_err(line).to_string()
    }

    #[test]
    fn stages() {
        for (line, stage) in [
            ("a.c -o a", Stage::Link),
            ("a.o -lm", Stage::Link),
            ("-c a.c", Stage::Compile),
            ("-S a.c", Stage::Compile),
            ("-E a.c", Stage::Preprocess),
            ("-MM -c a.c", Stage::Preprocess),
            ("-c a.c -MMD -MF a.d", Stage::Compile),
            ("-dumpmachine", Stage::Query),
            ("-print-file-name=libc.a", Stage::Query),
            ("--version", Stage::Query),
            ("-x c - -o a", Stage::Link),
        ] {
            assert_eq!(parse(line).stage, stage, "{line}");
        }
    }

    #[test]
    fn separate_values_are_not_inputs() {
        let plan = parse("-o a.cpp -I b.cpp -include c.cpp -MF d.cpp -D E.cpp");
        assert_eq!(plan.stage, Stage::Query);
        assert!(!plan.cxx);
    }

    #[test]
    fn cxx_is_seen_by_suffix_and_by_language_option() {
        assert!(parse("a.cpp").cxx);
        assert!(parse("a.c b.cc").cxx);
        assert!(!parse("-x c a.cpp").cxx);
        assert!(parse("-x c++ a.c").cxx);
        assert!(parse("-xc++ a.c").cxx);
        assert!(!parse("-x c++ -x none a.c").cxx);
        assert!(parse("a.o -lstdc++").cxx);
    }

    #[test]
    fn the_last_exception_option_wins() {
        assert!(parse("a.cpp").exceptions);
        assert!(!parse("a.cpp -fno-exceptions").exceptions);
        assert!(parse("a.cpp -fno-exceptions -fexceptions").exceptions);
    }

    #[test]
    fn options_of_other_machines_are_dropped() {
        let plan = parse(
            "a.c -march=native -mtune=native -m64 -mavx2 -mcmodel=medium -lmpi_cxx -lgcc_s -o a",
        );
        assert_eq!(plan.forwarded, ["a.c", "-o", "a"]);
        assert!(plan.notes.iter().any(|note| note.starts_with("-m64")), "{:?}", plan.notes);
    }

    #[test]
    fn wasm_options_are_kept() {
        let line = "a.c -mno-simd128 -msimd128 -mrelaxed-simd -mbulk-memory -mcpu=mvp -lm -static";
        assert_eq!(parse(line).forwarded.join(" "), line);
    }

    #[test]
    fn what_guests_cannot_be_is_refused_with_a_reason() {
        assert!(refused("-fopenmp=libgomp a.c").contains("-fopenmp"));
        assert!(refused("-shared a.c").contains("faasm-ar"));
        assert!(refused("-fsanitize=address a.c").contains("sanitizer"));
        assert_eq!(parse("-fno-openmp a.c").stage, Stage::Link);
    }

    #[test]
    fn threads_and_openmp_are_modes() {
        let modes = |line| {
            let plan = parse(line);
            (plan.threads, plan.openmp)
        };
        assert_eq!(modes("a.c"), (false, false));
        assert_eq!(modes("-pthread a.c"), (true, false));
        assert_eq!(modes("-fopenmp a.c -lgomp"), (true, true));
        assert_eq!(modes("-fopenmp=libomp a.c"), (true, true));
        assert_eq!(modes("-qopenmp a.c"), (true, true));
        assert_eq!(modes("-fopenmp-simd a.c"), (false, false));
        assert_eq!(modes("-fopenmp -fno-openmp a.c"), (true, false));
        assert_eq!(parse("-fopenmp a.c -lomp -lpthread").forwarded, ["-fopenmp", "a.c"]);
    }

    #[test]
    fn linker_options_of_gnu_ld_are_dropped_one_by_one() {
        let plan =
            parse("a.o -Wl,--as-needed -Wl,--start-group,--gc-sections,-z,relro,-z,stack-size=9");
        assert_eq!(plan.forwarded, ["a.o", "-Wl,--gc-sections,-z,relro,-z,stack-size=9"]);
        let plan = parse("a.o -Wl,-soname,libx.so -Wl,-rpath-link,/x,--gc-sections");
        assert_eq!(plan.forwarded, ["a.o", "-Wl,--gc-sections"]);
    }

    #[test]
    fn a_missing_value_is_an_error() {
        assert!(refused("a.c -o").contains("value"));
    }

    #[test]
    fn show_requests() {
        for (line, show) in [
            ("-show", Show::Command),
            ("--showme a.c", Show::Command),
            ("--showme:compile", Show::Compile),
            ("-showme:link", Show::Link),
            ("-compile_info", Show::Compile),
        ] {
            assert_eq!(parse(line).show, Some(show), "{line}");
        }
    }
}
