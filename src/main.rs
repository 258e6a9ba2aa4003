//! The `weighbridge` binary: picks what to run from the name and the arguments it was called with.

use weighbridge::config::Config;
use weighbridge::server::Identity;
use weighbridge::startup;

fn main() -> std::process::ExitCode {
    let mut config = Config::default();
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--port") {
        config.port = arguments.get(at + 1).and_then(|port| port.parse().ok()).unwrap_or(config.port);
    }
    let identity = Identity {
        run_id: "0".repeat(40),
        pid: std::process::id(),
        started_ms: 0,
        executable: String::new(),
        config_file: String::new(),
        startup_bytes: 0,
    };
    std::process::ExitCode::from(startup::run(config, identity) as u8)
}
