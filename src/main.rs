//! The `weighbridge` binary: picks what to run from the arguments it was called with.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its user")]

use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use weighbridge::client::demo;
use weighbridge::config::{Invocation, parse_command_line};
use weighbridge::startup::{self, Call, StartError};

fn main() -> ExitCode {
    let arguments: Vec<Vec<u8>> = std::env::args_os().map(OsStringExt::into_vec).collect();
    let (program, arguments) = match arguments.split_first() {
        Some((program, arguments)) => (String::from_utf8_lossy(program).into_owned(), arguments),
        None => ("weighbridge".to_owned(), &[][..]),
    };
    if let [b"demo"] = arguments.iter().map(Vec::as_slice).collect::<Vec<_>>()[..] {
        return run_demo();
    }
    match parse_command_line(arguments) {
        Invocation::Version => {
            println!("{}", startup::version());
            ExitCode::SUCCESS
        }
        Invocation::Help => {
            print!("{}", startup::help());
            ExitCode::SUCCESS
        }
        Invocation::TestMemory(_) => {
            eprintln!(
                "Weighbridge has no memory test. Use memtester, or memtest86 before the system starts."
            );
            ExitCode::FAILURE
        }
        Invocation::CheckSystem => {
            let (report, well) = startup::check_system();
            print!("{report}");
            if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Invocation::Run(line) => {
            let call = Call { program, bare: arguments.is_empty(), line };
            if let StartError::Configuration(error) = startup::run(&call) {
                eprintln!("{error}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run_demo() -> ExitCode {
    let shown =
        std::env::current_exe().and_then(|executable| demo::run(&executable, |line| println!("{line}")));
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("The demonstration failed: {error}");
            ExitCode::FAILURE
        }
    }
}
