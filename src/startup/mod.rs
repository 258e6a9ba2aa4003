//! From the command line to a running server: configuration, checks, the process's surroundings, the event loop.

mod banner;
mod cluster;
mod process;
mod saving;
mod serve;
mod system_checks;
mod usage;

pub use serve::build;
pub use system_checks::check_system;
pub use usage::{help, version};

use std::io::Read;
use std::path::Path;

use crate::algorithms::{crc64, hash};
use crate::commands;
use crate::config::{CommandLine, Config, Directives, LoadError, Loaded, Sources};
use crate::log;
use crate::persistence;
use crate::server::acl::{RuleContext, RuleError, UserLine, UserLineError};
use crate::server::command::CommandTable;
use crate::sys::restart::OwnCall;
use crate::sys::{clock, fork};

/// What the start needs to know of how the process was called.
#[derive(Debug)]
pub struct Call {
    /// The program's name as it was called.
    pub program: String,
    /// Whether there were no arguments at all.
    pub bare: bool,
    /// Where the configuration comes from.
    pub line: CommandLine,
}

/// Why the server did not start. Everything else that goes wrong is in the log.
#[derive(Debug)]
pub enum StartError {
    /// The configuration is wrong: to be told on standard error.
    Configuration(LoadError),
    /// The log says why.
    Logged,
}

/// Starts a server and runs it until it is told to end. Returns only when it could not start: a server that ends does so
/// by `exit`.
pub fn run(call: &Call) -> StartError {
    log::start();
    let mut own_call = OwnCall::note();
    let loaded = match load(&call.line) {
        Ok(loaded) => loaded,
        Err(error @ LoadError::Unreadable { .. }) => {
            tracing::warn!("{error}");
            return StartError::Logged;
        }
        Err(error) => return StartError::Configuration(error),
    };
    if let Ok(directory) = std::env::current_dir() {
        own_call.change_arguments(|arguments| call.line.in_directory(arguments, &directory));
    }
    let config = loaded.config;
    log::configure(&config);
    force_lazy_parts(&config);
    system_checks::warn(&config);
    let supervised = process::find_supervisor(&config);
    let background = config.daemonize && supervised == crate::config::Supervised::No;
    if background && let Err(error) = crate::sys::process::daemonize() {
        tracing::warn!("Can't go to the background: {error}");
        return StartError::Logged;
    }
    banner::first_lines(call);
    report_inert_options(&config);
    if let Some(reason) = refused_directives(&loaded.directives) {
        return StartError::Configuration(reason);
    }
    let commands = match renamed_commands(&loaded.directives) {
        Ok(commands) => commands,
        Err(reason) => return StartError::Configuration(reason),
    };
    let identity = process::identity(call, own_call, &config, supervised, background);
    let users = match configured_users(&loaded.directives, &config, &commands) {
        Ok(users) => users,
        Err(reason) => return StartError::Configuration(reason),
    };
    match serve::run(config, identity, commands, &users) {
        Ok(never) => match never {},
        Err(serve::Stopped) => StartError::Logged,
    }
}

fn load(line: &CommandLine) -> Result<Loaded, LoadError> {
    let mut stdin = Vec::new();
    if line.reads_stdin {
        // Whatever arrived before an error is what there is to read.
        let _ = std::io::stdin().lock().read_to_end(&mut stdin);
    }
    let file: Option<&Path> = line.config_file.as_deref();
    crate::config::load(Sources { file, stdin: &stdin, options: &line.options })
}

/// Everything that would otherwise be made at its first use, when a fork or a command may be waiting.
fn force_lazy_parts(config: &Config) {
    clock::calibrate();
    crc64::warm_up();
    persistence::warm_up();
    persistence::sweep_stale_files(Path::new("."));
    fork::install_panic_hook();
    banner::report_panics(config.crash_log_enabled);
    crate::sys::process::prepare_title();
    hash::seed(hash_seed(config));
}

/// The key that hashes are made under: random, unless `hash-seed` asks for the same in every process.
fn hash_seed(config: &Config) -> [u8; 16] {
    use sha1::Digest;
    let mut seed = [0_u8; 16];
    if config.hash_seed.is_empty() {
        // Without randomness the tables still work, only predictably.
        let _ = getrandom::fill(&mut seed);
    } else {
        let digest = sha1::Sha1::digest(config.hash_seed.as_bytes());
        seed.copy_from_slice(&digest[..16]);
    }
    seed
}

/// Says once which options were set though they have no effect here.
fn report_inert_options(config: &Config) {
    for option in config.inert_options_set() {
        tracing::info!("The option '{}' is accepted but has no effect in Weighbridge.", option.name);
    }
}

/// The table of commands with the names that the configuration gives them.
fn renamed_commands(directives: &Directives) -> Result<CommandTable, LoadError> {
    let mut commands = commands::table();
    for line in &directives.renamed_commands {
        let word = |index| line.arguments.get(index).map(Vec::as_slice).unwrap_or_default();
        commands.rename(word(1), word(2)).map_err(|reason| line.error(reason))?;
    }
    Ok(commands)
}

/// The users that the configuration defines.
fn configured_users(
    directives: &Directives,
    config: &Config,
    commands: &CommandTable,
) -> Result<Vec<UserLine>, LoadError> {
    let context = RuleContext { commands, channels: config.acl_pubsub_default };
    let mut users: Vec<UserLine> = Vec::new();
    for line in &directives.users {
        let error = |fault: UserLineError| {
            let word = String::from_utf8_lossy(&fault.word);
            line.error(format!("Error in user declaration '{word}': {}", fault.reason))
        };
        let user = UserLine::parse(&line.arguments, context).map_err(error)?;
        if users.iter().any(|known| known.name == user.name) {
            return Err(error(UserLineError { word: user.name, reason: RuleError::DuplicateUser.text() }));
        }
        users.push(user);
    }
    Ok(users)
}

/// Lines that ask for what this server does not have and cannot leave out silently: modules bring commands.
fn refused_directives(directives: &Directives) -> Option<LoadError> {
    let refused = [
        (&directives.modules, "Modules are not supported by Weighbridge"),
        (&directives.module_options, "Modules are not supported by Weighbridge"),
    ];
    refused.into_iter().find_map(|(lines, reason)| Some(lines.first()?.error(reason)))
}
