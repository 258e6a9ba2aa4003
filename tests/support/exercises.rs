//! Values of every encoding, and what reads and changes a value from end to end.

use weighbridge::types::ValueType;

/// One key of every type and encoding, as requests.
pub const EVERY_ENCODING: &[&str] = &[
    "SET string:int 12345",
    "SET string:embstr value",
    "SETRANGE string:raw 200 value",
    "RPUSH list:listpack a 1 -70000 bb",
    "CONFIG SET list-max-listpack-size 2",
    "RPUSH list:quicklist a b c d e f g 8",
    "CONFIG SET list-max-listpack-size -2",
    "SADD set:intset 1 2 70000 -5",
    "SADD set:listpack a b 3",
    "HSET hash:listpack f v g 12",
    "ZADD zset:listpack 1 a 2.5 b inf c",
    "XADD stream 1-1 f v",
    "XADD stream 2-1 f v2",
    "XADD stream 3-1 g w h 5",
    "XDEL stream 2-1",
    "XGROUP CREATE stream group 0",
    "XREADGROUP GROUP group consumer COUNT 1 STREAMS stream >",
    "CONFIG SET set-max-listpack-entries 1 hash-max-listpack-entries 1 zset-max-listpack-entries 1",
    "SADD set:hashtable a b c",
    "HSET hash:hashtable f v g w",
    "HSET hash:expiring f v g w",
    "HPEXPIREAT hash:expiring 9000000000000 FIELDS 1 f",
    "ZADD zset:skiplist 1 a 2 b 3.5 c",
    "CONFIG SET set-max-listpack-entries 128 hash-max-listpack-entries 512 zset-max-listpack-entries 128",
    "SET string:expiring value PXAT 9000000000000",
];

/// What reads and changes a value of a type from end to end.
pub const EXERCISES: &[(ValueType, &[&str])] = &[
    (ValueType::String, &["GET $", "STRLEN $", "APPEND $ x", "SETRANGE $ 3 y", "INCR $"]),
    (
        ValueType::List,
        &[
            "LRANGE $ 0 -1",
            "LINDEX $ -2",
            "LPOS $ a RANK -1",
            "LINSERT $ AFTER a b",
            "LSET $ 0 z",
            "LREM $ 0 b",
            "LPOP $ 2",
            "RPOP $",
        ],
    ),
    (
        ValueType::Set,
        &[
            "SMEMBERS $",
            "SISMEMBER $ a",
            "SRANDMEMBER $ -5",
            "SSCAN $ 0",
            "SADD $ x 99",
            "SREM $ a 2",
            "SPOP $ 2",
        ],
    ),
    (
        ValueType::SortedSet,
        &[
            "ZRANGE $ 0 -1 WITHSCORES",
            "ZRANGEBYSCORE $ -inf inf",
            "ZRANGEBYLEX $ - +",
            "ZRANK $ b",
            "ZADD $ 7 x 1.5 a",
            "ZREM $ b",
            "ZREMRANGEBYRANK $ 0 0",
            "ZPOPMAX $",
        ],
    ),
    (
        ValueType::Hash,
        &[
            "HGETALL $",
            "HRANDFIELD $ -5 WITHVALUES",
            "HSCAN $ 0",
            "HPTTL $ FIELDS 2 f g",
            "HSET $ x y f w",
            "HPERSIST $ FIELDS 1 f",
            "HDEL $ g x",
        ],
    ),
    (
        ValueType::Stream,
        &[
            "XRANGE $ - +",
            "XREVRANGE $ + - COUNT 2",
            "XINFO STREAM $ FULL",
            "XPENDING $ group",
            "XADD $ * f v",
            "XREADGROUP GROUP group other STREAMS $ >",
            "XAUTOCLAIM $ group other 0 0",
            "XACK $ group 1-1",
            "XDEL $ 1-1 3-1",
            "XTRIM $ MAXLEN 1",
            "XGROUP DESTROY $ group",
        ],
    ),
];
