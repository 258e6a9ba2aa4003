//! A data set of every type and encoding, made of requests that any Valkey or Redis understands.

use super::reply::Conversation;

/// Databases that get keys.
const DATABASES: usize = 4;
/// Requests sent before their replies are read.
const CHUNK: usize = 200;

type Request = Vec<Vec<u8>>;

/// Makes data sets; the same seed makes the same one.
pub struct DataSet {
    random: fastrand::Rng,
    /// Expiry of hash fields, which only Valkey 9 and Redis 7.4 have (with another spelling of the time).
    pub field_expiry: bool,
}

impl DataSet {
    /// A data set of this seed.
    pub fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), field_expiry: true }
    }

    /// Stores about `keys` keys through the conversation.
    pub fn store(&mut self, conversation: &mut Conversation, keys: usize) {
        for database in 0..DATABASES {
            conversation.ask(&format!("SELECT {database}"));
            let mut requests = Vec::new();
            for number in 0..keys / DATABASES {
                self.entry(&mut requests, number);
                if requests.len() >= CHUNK {
                    send(conversation, &mut requests);
                }
            }
            send(conversation, &mut requests);
        }
        conversation.ask("SELECT 0");
    }

    fn entry(&mut self, requests: &mut Vec<Request>, number: usize) {
        let kind = self.random.usize(..20);
        let key = format!("key:{number}:{kind}");
        match kind {
            0..6 => self.string(requests, &key),
            6..9 => self.collection(requests, &key, "RPUSH", |data| vec![data.value()]),
            9..12 => self.collection(requests, &key, "SADD", |data| vec![data.value()]),
            12 | 13 => self.collection(requests, &key, "SADD", |data| vec![data.integer()]),
            14..16 => {
                self.collection(requests, &key, "HSET", |data| vec![data.value(), data.value()]);
                self.expire_fields(requests, &key);
            }
            16..19 => self.collection(requests, &key, "ZADD", |data| vec![data.score(), data.value()]),
            _ => self.stream(requests, &key),
        }
        if self.random.u8(..4) == 0 {
            let ttl = self.random.u32(100_000..10_000_000).to_string();
            requests.push(words(&["EXPIRE", &key, &ttl]));
        }
    }

    fn string(&mut self, requests: &mut Vec<Request>, key: &str) {
        let value = match self.random.u8(..4) {
            0 => self.integer(),
            1 => "compressible ".repeat(self.random.usize(1..60)).into_bytes(),
            _ => self.value(),
        };
        requests.push(vec![b"SET".to_vec(), key.into(), value]);
    }

    /// Mostly small, now and then beyond every threshold.
    fn size(&mut self) -> usize {
        match self.random.u8(..40) {
            0 => self.random.usize(520..900),
            1..5 => self.random.usize(120..300),
            _ => self.random.usize(1..12),
        }
    }

    fn collection(
        &mut self,
        requests: &mut Vec<Request>,
        key: &str,
        command: &str,
        element: impl Fn(&mut Self) -> Vec<Vec<u8>>,
    ) {
        let mut request = words(&[command, key]);
        for _ in 0..self.size() {
            request.extend(element(self));
        }
        requests.push(request);
    }

    fn expire_fields(&mut self, requests: &mut Vec<Request>, key: &str) {
        if self.field_expiry && self.random.u8(..3) == 0 {
            requests.push(words(&["HSET", key, "known", "1", "other", "2"]));
            requests.push(words(&["HEXPIRE", key, "1000000", "FIELDS", "1", "known"]));
        }
    }

    fn stream(&mut self, requests: &mut Vec<Request>, key: &str) {
        for number in 1..=self.size().min(250) {
            let value = String::from_utf8_lossy(&self.value()).into_owned();
            requests.push(words(&[
                "XADD",
                key,
                &format!("{number}-1"),
                "field",
                &value,
                "n",
                &number.to_string(),
            ]));
        }
        requests.push(words(&["XDEL", key, "2-1"]));
        requests.push(words(&["XGROUP", "CREATE", key, "group", "0"]));
        requests.push(words(&[
            "XREADGROUP",
            "GROUP",
            "group",
            "consumer",
            "COUNT",
            "3",
            "STREAMS",
            key,
            ">",
        ]));
        requests.push(words(&["XACK", key, "group", "1-1"]));
    }

    fn integer(&mut self) -> Vec<u8> {
        let bits = self.random.u32(1..64);
        let value = (self.random.i64(..)) >> bits;
        value.to_string().into_bytes()
    }

    fn score(&mut self) -> Vec<u8> {
        match self.random.u8(..10) {
            0 => b"-inf".to_vec(),
            1 => self.integer(),
            _ => format!("{}", f64::from(self.random.i32(-100_000..100_000)) / 7.0).into_bytes(),
        }
    }

    /// Text, digits or any bytes; rarely longer than a listpack element may be.
    fn value(&mut self) -> Vec<u8> {
        let length =
            if self.random.u8(..60) == 0 { self.random.usize(65..400) } else { self.random.usize(..24) };
        match self.random.u8(..4) {
            0 => self.integer(),
            1 => (0..length).map(|_| self.random.u8(..)).collect(),
            _ => (0..length).map(|_| self.random.u8(b'a'..=b'z')).collect(),
        }
    }
}

fn words(words: &[&str]) -> Request {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn send(conversation: &mut Conversation, requests: &mut Vec<Request>) {
    for request in requests.iter() {
        conversation.send(request);
    }
    for request in requests.drain(..) {
        let reply = conversation.read();
        let read_only_nothing = reply.starts_with("(nil");
        assert!(
            !reply.starts_with("(error)") || read_only_nothing,
            "{reply} to {}",
            request[0].escape_ascii()
        );
    }
}
