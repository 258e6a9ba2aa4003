//! MIGRATE: keys move to another server. The client waits while a task of its own sends them; everybody else goes on.

use super::super::arguments::{integer, is_word};
use crate::algorithms::numbers::parse_i64;
use crate::resp::CommandError;
use crate::server::blocking::{BlockRequest, TimeoutReply};
use crate::server::command::{
    Arg, Args, Begin, Command, Find, Group, KeySpec, Outcome, category, flag, key_flag,
};
use crate::server::migration::{Credentials, Migration, Order};
use crate::server::{Context, Task};

const KEY_FLAGS: u32 = key_flag::RW | key_flag::ACCESS | key_flag::DELETE;

pub(super) const MIGRATE: Command = Command {
    name: "migrate",
    arity: -6,
    flags: flag::WRITE | flag::MOVABLE_KEYS,
    categories: category::DANGEROUS | category::KEYSPACE,
    keys: &[
        KeySpec::one(3, KEY_FLAGS),
        KeySpec {
            flags: KEY_FLAGS | key_flag::INCOMPLETE,
            begin: Begin::Keyword("KEYS", -2),
            find: Find::Range { last: -1, step: 1, limit: 0 },
            notes: "",
        },
    ],
    group: Group::Generic,
    since: "2.6.0",
    complexity: "That of DUMP and DEL here and of RESTORE there, and O(N) for the transfer.",
    summary: "Moves keys to another server.",
    arguments: &[
        Arg::string("host"),
        Arg::integer("port"),
        Arg::one_of("key-selector", &[Arg::key("key"), Arg::flag("empty-string", "")]),
        Arg::integer("destination-db"),
        Arg::integer("timeout"),
        Arg::flag("copy", "COPY").since("3.0.0").optional(),
        Arg::flag("replace", "REPLACE").since("3.0.0").optional(),
        Arg::one_of(
            "authentication",
            &[
                Arg::string("auth").shown_as("password").token("AUTH").since("4.0.7"),
                Arg::block("auth2", &[Arg::string("username"), Arg::string("password")])
                    .token("AUTH2")
                    .since("6.0.0"),
            ],
        )
        .optional(),
        Arg::key("keys").shown_as("key").of_key_spec(1).token("KEYS").since("3.0.6").optional().multiple(),
    ],
    history: &[
        ("3.0.0", "Takes `COPY` and `REPLACE`."),
        ("3.0.6", "Takes several keys."),
        ("4.0.7", "Takes `AUTH`."),
        ("6.0.0", "Takes `AUTH2`."),
    ],
    tips: &["nondeterministic_output"],
    handler: migrate,
    ..Command::DEFAULT
};

/// What a MIGRATE was told besides where to go.
#[derive(Default)]
struct Options<'a> {
    copy: bool,
    replace: bool,
    user: Option<&'a [u8]>,
    password: Option<&'a [u8]>,
    keys: Vec<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        let mut options = Self { keys: vec![args.at(3)], ..Self::default() };
        let mut index = 6;
        while let Some(word) = args.get(index) {
            match (args.get(index + 1), args.get(index + 2)) {
                _ if is_word(word, "copy") => options.copy = true,
                _ if is_word(word, "replace") => options.replace = true,
                (Some(password), _) if is_word(word, "auth") => {
                    options.password = Some(password);
                    index += 1;
                }
                (Some(user), Some(password)) if is_word(word, "auth2") => {
                    (options.user, options.password) = (Some(user), Some(password));
                    index += 2;
                }
                _ if is_word(word, "keys") => {
                    if !args.at(3).is_empty() {
                        return Err(CommandError::custom(
                            "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
                        ));
                    }
                    options.keys = args.from(index + 1).iter().collect();
                    break;
                }
                _ => return Err(CommandError::Syntax),
            }
            index += 1;
        }
        Ok(options)
    }
}

fn migrate(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    const DEFAULT_TIMEOUT_MS: u64 = 1000;
    let options = Options::parse(args)?;
    let timeout_ms = integer(args.at(5))?;
    let target_database = integer(args.at(4))?;
    let order = Order {
        host: String::from_utf8_lossy(args.at(1)).into_owned(),
        // There is no connecting to a port that is none.
        port: parse_i64(args.at(2)).and_then(|port| u16::try_from(port).ok()).unwrap_or(0),
        timeout_ms: u64::try_from(timeout_ms).ok().filter(|ms| *ms > 0).unwrap_or(DEFAULT_TIMEOUT_MS),
        target_database,
        credentials: options.password.map(|password| Credentials {
            user: options.user.map(<[u8]>::to_vec),
            password: password.to_vec(),
        }),
        copy: options.copy,
        replace: options.replace,
        asking: cx.server.cluster.is_some(),
        database: cx.keys.database,
    };
    let compress = cx.server.config.rdbcompression;
    // Memory never refuses a write.
    let migration = Migration::new(&mut cx.keys, order, &options.keys, compress)
        .map_err(|error| CommandError::custom(format!("ERR {error}")))?;
    let Some(migration) = migration else {
        cx.reply.simple("NOKEY");
        return Ok(());
    };
    if cx.in_transaction {
        return Err(CommandError::custom(
            "ERR MIGRATE is not supported inside of transactions and scripts by Weighbridge: it would hold up everybody",
        ));
    }
    let mut migration = Box::new(migration);
    let waits = cx.block(BlockRequest::for_event(TimeoutReply::Null));
    if waits {
        cx.server.begin_migration(cx.client, &mut migration);
        cx.server.ask(Task::Migrate(migration));
    }
    Ok(())
}
