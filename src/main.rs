//! The `weighbridge` binary: picks what to run from the arguments it was called with.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its user")]

use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use weighbridge::client::demo;
use weighbridge::config::{Invocation, parse_command_line};
use weighbridge::startup::{self, Call, StartError};
use weighbridge::tools::{Terminal, Tool, Verdict};

fn main() -> ExitCode {
    let arguments: Vec<Vec<u8>> = std::env::args_os().map(OsStringExt::into_vec).collect();
    let (program, arguments) = match arguments.split_first() {
        Some((program, arguments)) => (String::from_utf8_lossy(program).into_owned(), arguments),
        None => ("weighbridge".to_owned(), &[][..]),
    };
    if let Some(tool) = Tool::of_program(&program) {
        return run_tool(tool, &program, arguments);
    }
    if let Some((argument, rest)) = arguments.split_first()
        && let Some(tool) = Tool::of_argument(argument)
    {
        return run_tool(tool, &format!("{program} {}", String::from_utf8_lossy(argument)), rest);
    }
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

fn run_tool(tool: Tool, program: &str, arguments: &[Vec<u8>]) -> ExitCode {
    let (input, output, errors) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let mut output = BufWriter::new(output.lock());
    let version = startup::version();
    let version = version.strip_prefix("Valkey server ").unwrap_or(&version);
    let (mut input, mut errors) = (input.lock(), errors.lock());
    let mut terminal = Terminal { input: &mut input, output: &mut output, errors: &mut errors, version };
    let outcome = tool.run(program, arguments, &mut terminal);
    match outcome.and_then(|verdict| output.flush().map(|()| verdict)) {
        Ok(Verdict::Valid) => ExitCode::SUCCESS,
        Ok(Verdict::Invalid) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
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
