//! Rules and what they come to, files of users, the log.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::config::AclPubsubDefault;
use crate::server::command::{Args, Command, CommandTable, KeySpec, Request, category, flag, key_flag};

const GET: Command = Command {
    name: "get",
    arity: 2,
    flags: flag::READONLY | flag::FAST,
    categories: category::STRING,
    keys: &[KeySpec::one(1, key_flag::RO | key_flag::ACCESS)],
    ..Command::DEFAULT
};
const LPUSH: Command = Command {
    name: "lpush",
    arity: -3,
    flags: flag::WRITE,
    categories: category::LIST,
    keys: &[KeySpec::one(1, key_flag::RW | key_flag::INSERT)],
    ..Command::DEFAULT
};
const SELECT: Command = Command { name: "select", arity: 2, ..Command::DEFAULT };
const CONFIG: Command = Command {
    name: "config",
    arity: -2,
    subcommands: &[
        Command { name: "get", arity: -3, flags: flag::ADMIN, ..Command::DEFAULT },
        Command { name: "set", arity: -4, flags: flag::ADMIN, ..Command::DEFAULT },
    ],
    ..Command::DEFAULT
};
const PSUBSCRIBE: Command =
    Command { name: "psubscribe", arity: -2, flags: flag::PUBSUB, ..Command::DEFAULT };

fn table() -> CommandTable {
    CommandTable::new(&[&[GET, LPUSH, SELECT, CONFIG, PSUBSCRIBE]])
}

fn context(commands: &CommandTable) -> RuleContext<'_> {
    RuleContext { commands, channels: AclPubsubDefault::ResetChannels }
}

fn words(text: &str) -> Vec<Vec<u8>> {
    text.split_whitespace().map(|word| word.as_bytes().to_vec()).collect()
}

fn user(commands: &CommandTable, rules: &str) -> Result<User, RuleError> {
    let mut user = User::new(b"u", context(commands));
    let rules = join_selectors(words(rules).iter().map(Vec::as_slice)).unwrap();
    user.apply_all(&rules, context(commands)).map_err(|(_, error)| error)?;
    Ok(user)
}

fn described(rules: &str) -> String {
    String::from_utf8(user(&table(), rules).unwrap().describe()).unwrap()
}

fn denied(rules: &str, request: &str, database: usize) -> Option<(Denial, usize)> {
    let table = table();
    let mut owned = Request::default();
    words(request).iter().for_each(|word| owned.push(word));
    let args: Args<'_> = owned.args();
    let asked = Asked { entry: table.named(args).unwrap(), args, database, databases: 16 };
    let checked = user(&table, rules).unwrap().check(asked);
    checked.err().map(|denied| (denied.what, denied.index))
}

#[test]
fn later_rules_take_the_place_of_earlier_ones_about_the_same() {
    assert_eq!(described(""), "off resetchannels -@all");
    assert_eq!(described("on nopass +@all -config|get +config"), "on nopass resetchannels +@all +config");
    assert_eq!(
        described("+@all -@list -@string +lpush -@list"),
        "off resetchannels +@all -@string +lpush -@list"
    );
    assert_eq!(described("+SELECT|0 +select|0 +select|1 -get +GET"), {
        "off resetchannels -@all +select|0 +select|1 +get"
    });
    assert_eq!(described("%R~a %w~a %RW~b ~* allchannels"), "off ~* &* -@all");
    assert_eq!(
        described("%R~a %w~b %RW~c &x db=2,0,2 (+get ~k ) ( resetdbs )"),
        "off %R~a %W~b ~c resetchannels &x db=0,2 -@all (~k resetchannels -@all +get) (resetchannels resetdbs -@all)"
    );
    assert_eq!(described("on >x ~a +@all (+get) reset"), "off resetchannels -@all");
}

#[test]
fn rules_that_are_wrong_are_refused() {
    use RuleError::*;
    let table = table();
    let wrong = [
        ("+nothing", Unknown),
        ("-config|nothing", Unknown),
        ("+@nothing", Unknown),
        ("+config|get|a", FirstArgumentOfSubcommand),
        ("+get|", Syntax),
        ("%~a", Syntax),
        ("%RR~a", Syntax),
        ("db=1,,2", Syntax),
        ("db=-1", DatabaseOutOfRange),
        ("~* ~a", AfterAllKeys),
        ("&* &a", AfterAllChannels),
        ("<none", NoSuchPassword),
        ("#12", BadHash),
        (")", Syntax),
        ("(+get", Syntax),
    ];
    for (rules, error) in wrong {
        let joined = join_selectors(words(rules).iter().map(Vec::as_slice));
        match joined {
            Err(place) => assert_eq!((rules, place), ("(+get", 0)),
            Ok(_) => assert_eq!(user(&table, rules).unwrap_err(), error, "{rules}"),
        }
    }
}

#[test]
fn one_selector_has_to_allow_all_of_a_request() {
    let split = "(+get %R~a*) (+lpush %W~b* db=1)";
    assert_eq!(denied(split, "GET a1", 0), None);
    assert_eq!(denied(split, "GET b1", 0), Some((Denial::Key, 1)));
    assert_eq!(denied(split, "LPUSH b1 x", 1), None);
    assert_eq!(denied(split, "LPUSH b1 x", 0), Some((Denial::Command, 0)));
    assert_eq!(denied("+select|0 alldbs", "SELECT 0", 0), None);
    assert_eq!(denied("+select|0", "SELECT 1", 0), Some((Denial::Command, 0)));
    assert_eq!(denied("+select db=1", "SELECT 2", 0), Some((Denial::Database, 1)));
    assert_eq!(denied("+@all -config +config|get", "CONFIG GET x", 0), None);
    assert_eq!(denied("+@all -config +config|get", "CONFIG SET x y", 0), Some((Denial::Command, 0)));
    assert_eq!(denied("+@all &a* &b", "PSUBSCRIBE a* b c", 0), Some((Denial::Channel, 3)));
    assert!(user(&table(), "+@all ~* &*").unwrap().is_unrestricted());
    assert!(!user(&table(), "+@all ~* &* -get +get").unwrap().is_unrestricted());
}

#[test]
fn a_file_that_is_wrong_says_all_that_is() {
    let table = table();
    let text =
        "user a on nopass  +get\n\nuser a off\nnobody\nuser b +nothing #1 (+get\n user default ~* +@all \n";
    let faults = String::from_utf8(file::parse(text.as_bytes(), "f", context(&table)).unwrap_err()).unwrap();
    assert_eq!(
        faults,
        "WARNING: Duplicate user 'a' found on line 3. f:4 should start with user keyword followed by the username. \
         f:5: Unmatched parenthesis in selector definition.WARNING: ACL errors detected, no change to the previously \
         active ACL rules was performed"
    );
    let fine = file::parse(b"user b on >x\nuser a\n", "f", context(&table)).unwrap();
    assert!(fine.accepts(b"b", b"x") && !fine.accepts(b"b", b"y") && !fine.accepts(b"a", b""));
    assert_eq!(fine.lines()[0], b"a off resetchannels -@all");
}

#[test]
fn the_log_counts_the_like_within_a_minute() {
    let entry = |object: &str, at_ms: i64| LogEntry {
        reason: Reason::Auth,
        place: Place::TopLevel,
        object: object.into(),
        user: Vec::new(),
        client: Vec::new(),
        count: 1,
        created_ms: at_ms,
        updated_ms: at_ms,
        id: 0,
    };
    let mut log = AclLog::default();
    for (object, at_ms) in [("a", 0), ("b", 1), ("a", 60_000), ("a", 200_000)] {
        log.add(entry(object, at_ms), 3);
    }
    let shown: Vec<_> = log.entries().map(|entry| (entry.object.clone(), entry.count, entry.id)).collect();
    assert_eq!(shown, [(b"a".to_vec(), 1, 2), (b"a".to_vec(), 2, 0), (b"b".to_vec(), 1, 1)]);
    log.add(entry("c", 0), 0);
    assert_eq!(log.entries().len(), 0);
}
