#!/bin/sh
# Makes the golden RDB files with the servers whose bytes must be read. Usage: generate.sh VALKEY_BIN_DIR REDIS_BIN_DIR
# The files kept here are of Valkey 9.1 and Redis 8.0; another run differs in time stamps and hash order only.
set -eu
out=$(cd "$(dirname "$0")" && pwd)
port=7943
limits="--list-max-listpack-size 4 --set-max-listpack-entries 4 --hash-max-listpack-entries 4 --zset-max-listpack-entries 4"

# start BIN_DIR NAME [OPTION...]: NAME is valkey or redis
start() {
    bin=$1 name=$2
    shift 2
    dir=$(mktemp -d)
    "$bin/$name-server" --port $port --bind 127.0.0.1 --dir "$dir" --save '' --loglevel warning "$@" >/dev/null &
    pid=$!
    cli="$bin/$name-cli -p $port"
    until $cli ping >/dev/null 2>&1; do :; done
}

# keep FILE: saves, copies the file, stops the server
keep() {
    $cli save >/dev/null
    cp "$dir/dump.rdb" "$out/$1"
    kill $pid
    wait $pid || true
    rm -r "$dir"
}

fill() {
    $cli >/dev/null <<'COMMANDS'
SET string:int8 -7
SET string:int16 12345
SET string:int32 -2000000000
SET string:int64 1234567890123
SET string:leading-zero 007
SET string:empty ""
SET string:raw "plain text"
SET string:lzf "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
SET string:expiring soon PXAT 4102444800123
RPUSH list:listpack a 1 "longer element" -70000
RPUSH list:quicklist 1 2 3 4 5 6
SADD set:intset 1 2 300
SADD set:listpack a b 3
SADD set:hashtable a b c d e
HSET hash:listpack f1 v1 f2 2
HSET hash:hashtable f1 v1 f2 v2 f3 v3 f4 v4 f5 v5
HSET hash:expiring f1 v1 f2 v2 f3 v3
HPEXPIREAT hash:expiring 4102444800000 FIELDS 1 f2
HPEXPIREAT hash:expiring 4102444900000 FIELDS 1 f3
HSET hash:expiring-large f1 v1 f2 v2 f3 v3 f4 v4 f5 v5
HPEXPIREAT hash:expiring-large 4102444800000 FIELDS 1 f2
HPEXPIREAT hash:expiring-large 4102444900000 FIELDS 1 f3
ZADD zset:listpack 1.5 a -inf b 3 c
ZADD zset:skiplist 1.5 a -inf b 3 c +inf d 1e100 e
XADD stream 1-1 field value
XADD stream 2-1 field value other thing
XADD stream 3-1 different names
XDEL stream 2-1
XGROUP CREATE stream group 0
XREADGROUP GROUP group alice COUNT 1 STREAMS stream >
XGROUP CREATECONSUMER stream group bob
SELECT 3
SET other:db here
COMMANDS
    printf '#!lua name=mylib\nredis.register_function("f", function(keys, args) return 1 end)\n' |
        $cli -x FUNCTION LOAD >/dev/null
}

start "$1" valkey $limits
fill
$cli --raw -n 0 dump hash:listpack | head -c -1 >"$out/valkey-9.1-hash.dump"
keep valkey-9.1.rdb

start "$1" valkey --maxmemory-policy allkeys-lru
$cli set key value >/dev/null
keep valkey-9.1-lru.rdb

start "$1" valkey --maxmemory-policy allkeys-lfu --rdbchecksum no
$cli set key value >/dev/null
keep valkey-9.1-lfu-no-checksum.rdb

start "$1" valkey --cluster-enabled yes
$cli cluster addslotsrange 0 16383 >/dev/null
until $cli set key value PXAT 4102444800123 2>/dev/null | grep -q OK; do :; done
keep valkey-9.1-cluster.rdb

start "$2" redis $limits
fill
keep redis-8.0.rdb
