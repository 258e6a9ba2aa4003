//! The command line of the server: a configuration file, `-` for standard input, and `--option value ...`.
//!
//! Options become lines of configuration that are read after the files, as Valkey does; `--help` and its
//! like count only as the first argument.

use super::text::{quote, split_arguments, trim};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Invocation {
    /// `-v`, `--version`.
    Version,
    /// `-h`, `--help`.
    Help,
    /// `--test-memory <megabytes>`; `None` when the amount is missing.
    TestMemory(Option<Vec<u8>>),
    /// `--check-system`.
    CheckSystem,
    /// Run the server.
    Run(CommandLine),
}

/// Where a server that is to run gets its configuration from.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The configuration file, with its absolute path.
    pub config_file: Option<PathBuf>,
    /// Text is to be read from standard input too.
    pub reads_stdin: bool,
    /// The options as lines of configuration.
    pub options: Vec<u8>,
    /// Which of the arguments that follow the program's name begin an option `dir`.
    directories: Vec<usize>,
}

impl CommandLine {
    /// The arguments that follow the program's name, for another call: with this directory in the place of each that they
    /// name. A relative one counts from that of the configuration file, which may be another one by now.
    #[must_use]
    pub fn in_directory(&self, arguments: &[OsString], directory: &Path) -> Vec<OsString> {
        let mut arguments = arguments.to_vec();
        for place in self.directories.iter().rev() {
            let Some(option) = arguments.get_mut(*place) else { continue };
            // The value may be within the same argument.
            let values = usize::from(is_name_only(option.as_bytes()) && *place + 1 < arguments.len());
            arguments.splice(*place..=place + values, ["--dir".into(), directory.into()]);
        }
        arguments
    }
}

/// Reads the arguments that follow the program's name.
pub fn parse_command_line(arguments: &[Vec<u8>]) -> Invocation {
    let mut line = CommandLine::default();
    let mut rest = arguments;
    match arguments.first().map(Vec::as_slice) {
        None => return Invocation::Run(line),
        Some(b"-v" | b"--version") => return Invocation::Version,
        Some(b"-h" | b"--help") => return Invocation::Help,
        Some(b"--test-memory") => {
            let amount = if let [_, amount] = arguments { Some(amount.clone()) } else { None };
            return Invocation::TestMemory(amount);
        }
        Some(b"--check-system") => return Invocation::CheckSystem,
        Some(file) if !file.starts_with(b"-") => {
            line.config_file = Some(absolute_path(file));
            rest = arguments.get(1..).unwrap_or_default();
        }
        Some(_) => {}
    }
    let file_first = line.config_file.is_some();
    let mut option_complete = true;
    for (index, argument) in rest.iter().enumerate() {
        let last = index + 1 == rest.len();
        if argument == b"-" && ((index == 0 && !file_first) || last) {
            line.reads_stdin = true;
        } else if let (true, Some(option)) = (option_complete, argument.strip_prefix(b"--")) {
            let next = rest.get(index + 1).map(Vec::as_slice);
            let words = split_arguments(option).unwrap_or_default();
            if words.first().is_some_and(|name| name.eq_ignore_ascii_case(b"dir")) {
                line.directories.push(index + usize::from(file_first));
            }
            option_complete = push_option(&mut line.options, option, next);
        } else {
            line.options.extend_from_slice(&quote(argument));
            line.options.push(b' ');
            option_complete = true;
        }
    }
    Invocation::Run(line)
}

/// Whether an option's value is not within the argument that names it.
fn is_name_only(argument: &[u8]) -> bool {
    split_arguments(argument).is_some_and(|words| words.len() == 1)
}

/// Starts the line of an option; false when its first value is still to come, whatever it looks like.
fn push_option(options: &mut Vec<u8>, option: &[u8], next: Option<&[u8]>) -> bool {
    if !options.is_empty() {
        options.push(b'\n');
    }
    options.extend_from_slice(option);
    options.push(b' ');
    if !is_name_only(&[b"--", option].concat()) {
        return true;
    }
    let next_is_option = next.is_some_and(|next| next.starts_with(b"--"));
    let save = option.eq_ignore_ascii_case(b"save");
    let sentinel = option.eq_ignore_ascii_case(b"sentinel");
    if save && (next_is_option || next.is_none()) {
        // A script may leave the list of save points empty.
        options.extend_from_slice(b"\"\"");
    }
    (save || sentinel) && next_is_option
}

/// The path from the root; leading `../` are resolved.
fn absolute_path(file: &[u8]) -> PathBuf {
    let mut relative = trim(file);
    let path = Path::new(OsStr::from_bytes(relative));
    if path.is_absolute() {
        return path.to_path_buf();
    }
    let mut directory = std::env::current_dir().unwrap_or_default();
    while let Some(rest) = relative.strip_prefix(b"../") {
        relative = rest;
        directory.pop();
    }
    directory.join(OsStr::from_bytes(relative))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn run(arguments: &[&str]) -> (bool, Option<PathBuf>, String) {
        let arguments: Vec<Vec<u8>> = arguments.iter().map(|a| a.as_bytes().to_vec()).collect();
        match parse_command_line(&arguments) {
            Invocation::Run(line) => {
                (line.reads_stdin, line.config_file, String::from_utf8(line.options).unwrap())
            }
            other => panic!("{other:?}"),
        }
    }

    fn options(arguments: &[&str]) -> String {
        run(arguments).2
    }

    #[test]
    fn options_become_lines() {
        assert_eq!(options(&["--port", "6380", "--maxmemory", "1gb"]), "port \"6380\" \nmaxmemory \"1gb\" ");
        assert_eq!(options(&["--save", "900", "1", "300", "10"]), "save \"900\" \"1\" \"300\" \"10\" ");
        assert_eq!(options(&["--port 6380", "--hz 5"]), "port 6380 \nhz 5 ");
        assert_eq!(options(&["--requirepass", "--odd"]), "requirepass \"--odd\" ");
    }

    #[test]
    fn another_call_names_the_directory_from_the_root() {
        for (arguments, expected) in [
            (&["conf", "--dir", "data", "--port", "1"][..], &["conf", "--dir", "/a b", "--port", "1"][..]),
            (&["--DIR data"], &["--dir", "/a b"]),
            (&["--hz", "5", "--dir x", "--dir", "y"], &["--hz", "5", "--dir", "/a b", "--dir", "/a b"]),
            (&["--requirepass", "--dir", "--hz", "5"], &["--requirepass", "--dir", "--hz", "5"]),
            (&["--dir"], &["--dir", "/a b"]),
            (&["-"], &["-"]),
            (&["--"], &["--"]),
        ] {
            let bytes: Vec<Vec<u8>> = arguments.iter().map(|a| a.as_bytes().to_vec()).collect();
            let Invocation::Run(line) = parse_command_line(&bytes) else { panic!("{arguments:?}") };
            let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            assert_eq!(line.in_directory(&arguments, Path::new("/a b")), expected);
        }
    }

    #[test]
    fn an_empty_save_is_filled_in() {
        assert_eq!(options(&["--save", ""]), "save \"\" ");
        assert_eq!(options(&["--save"]), "save \"\"");
        assert_eq!(options(&["--save", "--port", "1"]), "save \"\"\nport \"1\" ");
    }

    #[test]
    fn the_file_is_the_first_argument_and_a_dash_is_standard_input() {
        assert_eq!(
            run(&["/etc/v.conf", "--port", "1", "-"]),
            (true, Some("/etc/v.conf".into()), "port \"1\" ".into())
        );
        assert_eq!(run(&["-", "--port", "1"]), (true, None, "port \"1\" ".into()));
        assert_eq!(run(&[]), (false, None, String::new()));
        assert!(run(&["x.conf"]).1.unwrap().is_absolute());
    }

    #[test]
    fn help_and_its_like_count_only_as_the_first_argument() {
        let parse = |arguments: &[&str]| {
            let arguments: Vec<Vec<u8>> = arguments.iter().map(|a| a.as_bytes().to_vec()).collect();
            parse_command_line(&arguments)
        };
        assert_eq!(parse(&["--version"]), Invocation::Version);
        assert_eq!(parse(&["-h"]), Invocation::Help);
        assert_eq!(parse(&["--check-system"]), Invocation::CheckSystem);
        assert_eq!(parse(&["--test-memory", "5"]), Invocation::TestMemory(Some(b"5".to_vec())));
        assert_eq!(parse(&["--test-memory"]), Invocation::TestMemory(None));
        assert_eq!(options(&["--port", "1", "--version"]), "port \"1\" \nversion ");
    }
}
