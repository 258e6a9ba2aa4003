//! RESTORE: a payload is refused, or the value survives everything that reads and changes one of its type, and what
//! DUMP gives of it is the same value again.

use weighbridge::rdb::dump::append_footer;
use weighbridge::rdb::format;

use crate::mutation::Grammar;
use crate::support::engine::{InProcess, bulk};
use crate::support::exercises::{EVERY_ENCODING, EXERCISES};

pub struct Target {
    server: InProcess,
    payloads: Vec<Vec<u8>>,
}

impl Target {
    pub fn new() -> Self {
        let mut server = InProcess::start();
        for request in EVERY_ENCODING {
            let reply = server.ask(request);
            assert!(!reply.starts_with(b"-"), "{request}");
        }
        let databases = server.engine.keyspace.databases();
        let keys: Vec<_> =
            databases.iter().flat_map(|all| all.table().iter().map(|entry| entry.key().to_vec())).collect();
        let payloads = keys.iter().map(|key| {
            let reply = server.run(&[b"DUMP".as_slice(), key]);
            let payload = bulk(&reply).unwrap();
            // Without version and checksum, which are put behind what becomes of it.
            payload[..payload.len() - 10].to_vec()
        });
        let payloads = payloads.collect();
        server.ask("FLUSHALL SYNC");
        Self { server, payloads }
    }

    pub fn grammar(&self) -> Grammar {
        let mut words: Vec<Vec<u8>> = (0..=25).map(|form| vec![form]).collect();
        words.extend([
            vec![0xc3, 4, 20],
            vec![0xff],
            vec![0xf1, 0, 1, 3],
            vec![0xe1, 0xff, 0xff, 2],
            vec![0xc0, 7],
        ]);
        Grammar { head: Vec::new(), pieces: self.payloads.clone(), tail: Vec::new(), words }
    }

    fn ask(&mut self, request: &str) -> Vec<u8> {
        let reply = self.server.ask(request);
        assert!(!reply.starts_with(b"-"), "{request}: {}", reply.escape_ascii());
        reply
    }

    pub fn run(&mut self, body: &[u8]) {
        let mut payload = body.to_vec();
        append_footer(&mut payload, format::VERSION);
        let reply = self.server.run(&[b"RESTORE".as_slice(), b"k", b"0", &payload, b"REPLACE"]);
        if !reply.starts_with(b"+OK") {
            assert!(reply.starts_with(b"-"), "{}", reply.escape_ascii());
            return;
        }
        let Some(entry) = self.server.engine.keyspace.databases()[0].table().iter().next() else { return };
        let value_type = entry.value_type();
        let digest = self.ask("DEBUG DIGEST-VALUE k");
        let dumped = self.server.run(&["DUMP", "k"]);
        // A hash whose fields have all expired is gone once somebody asks.
        if let Some(dumped) = bulk(&dumped) {
            let reply = self.server.run(&[b"RESTORE".as_slice(), b"again", b"0", dumped]);
            assert!(reply.starts_with(b"+OK"), "what was dumped: {}", reply.escape_ascii());
            let again = self.ask("DEBUG DIGEST-VALUE again");
            assert_eq!(again, digest, "what was dumped is another value");
        }
        let (_, requests) = EXERCISES.iter().find(|(of, _)| *of == value_type).unwrap();
        for request in *requests {
            self.server.ask(&request.replace('$', "k"));
        }
        self.ask("DEBUG DIGEST");
        self.ask("FLUSHALL SYNC");
    }
}
