//! An engine in the test's own process: no sockets, one client, requests one by one. Its helper thread lives as long as
//! the process.

use weighbridge::commands;
use weighbridge::config::{Config, ProtectedAction, SavePoints, Supervised};
use weighbridge::resp::{Protocol, Reply};
use weighbridge::server::command::Request;
use weighbridge::server::{Client, ClientKey, Engine, Identity, Prepared};
use weighbridge::startup;
use weighbridge::sys::restart::OwnCall;

/// The engine and its client.
pub struct InProcess {
    pub engine: Engine,
    pub client: ClientKey,
    /// Further clients, in the order in which they were first asked for.
    others: Vec<ClientKey>,
}

fn identity() -> Identity {
    Identity {
        run_id: "0".repeat(40),
        pid: std::process::id(),
        started_ms: 0,
        program: String::new(),
        executable: String::new(),
        config_file: String::new(),
        pid_file: None,
        call: OwnCall::default(),
        supervised: Supervised::No,
        startup_bytes: 0,
        startup_rows: 0,
    }
}

impl InProcess {
    /// An engine of the default options. What was allocated until then counts as its start.
    pub fn start() -> Self {
        let (tasks, requests) = tokio::sync::mpsc::unbounded_channel();
        // Nobody performs what commands ask of other tasks.
        std::mem::forget(requests);
        // Without points at which it saves, which FLUSHALL would do.
        let config = Config {
            save: SavePoints(Vec::new()),
            enable_debug_command: ProtectedAction::Yes,
            ..Config::default()
        };
        let mut engine = startup::build(config, identity(), commands::table(), tasks).unwrap();
        let client =
            engine.server.clients.add(|key, id| Client { authenticated: true, ..Client::new(key, id, 0) });
        engine.server.note_startup(&engine.keyspace);
        Self { engine, client, others: Vec::new() }
    }

    fn connect(&mut self) -> ClientKey {
        let make = |key, id| Client { authenticated: true, ..Client::new(key, id, 0) };
        self.engine.server.clients.add(make)
    }

    /// Runs a request as the client of this number, the first one being 1.
    pub fn run_as(&mut self, number: usize, words: &[impl AsRef<[u8]>]) -> Vec<u8> {
        while self.others.len() + 1 < number {
            let client = self.connect();
            self.others.push(client);
        }
        let first = self.client;
        if let Some(other) = number.checked_sub(2) {
            self.client = self.others[other];
        }
        let reply = self.run(words);
        self.client = first;
        reply
    }

    /// Runs a request and gives its reply as it would go over the wire.
    pub fn run(&mut self, words: &[impl AsRef<[u8]>]) -> Vec<u8> {
        let mut request = Request::default();
        for word in words {
            request.push(word.as_ref());
        }
        let mut reply = Reply::new(Protocol::Resp2);
        let prepared = Prepared { command: None, hint: None };
        self.engine.execute(self.client, prepared, request.args(), &mut reply);
        reply.as_slice().to_vec()
    }

    /// Runs a request whose words have no blanks.
    pub fn ask(&mut self, request: &str) -> Vec<u8> {
        self.run(&request.split_whitespace().collect::<Vec<_>>())
    }
}

/// The bytes of a bulk reply; `None` for any other.
pub fn bulk(reply: &[u8]) -> Option<&[u8]> {
    let header = reply.iter().position(|byte| *byte == b'\n')?;
    if !reply.starts_with(b"$") {
        return None;
    }
    reply.get(header + 1..reply.len().checked_sub(2)?)
}
