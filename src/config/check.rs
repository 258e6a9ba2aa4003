//! Checks of string options beyond being a string, with the reasons Valkey gives.

type Checked = Result<(), &'static str>;

fn is_base_name(value: &[u8]) -> bool {
    !value.iter().any(|b| matches!(b, b'/' | b'\\'))
}

pub(super) fn dbfilename(value: &[u8]) -> Checked {
    match value {
        b"" => Err("dbfilename can't be empty"),
        _ if !is_base_name(value) => Err("dbfilename can't be a path, just a filename"),
        _ => Ok(()),
    }
}

pub(super) fn appendfilename(value: &[u8]) -> Checked {
    match value {
        b"" => Err("appendfilename can't be empty"),
        _ if !is_base_name(value) => Err("appendfilename can't be a path, just a filename"),
        _ => Ok(()),
    }
}

pub(super) fn appenddirname(value: &[u8]) -> Checked {
    match value {
        b"" => Err("appenddirname can't be empty"),
        _ if !is_base_name(value) => Err("appenddirname can't be a path, just a dirname"),
        _ => Ok(()),
    }
}

pub(super) fn cluster_config_file(value: &[u8]) -> Checked {
    if value.is_empty() { Err("cluster-config-file can't be empty") } else { Ok(()) }
}

/// The cluster's own file separates fields by these; a name must not contain them.
fn is_plain_name(value: &[u8]) -> bool {
    let reserved = |b: u8| b <= b',' || b == 0x7f || b";<=>?@[]^{|}~\\".contains(&b);
    !value.iter().any(|b| reserved(*b))
}

pub(super) fn announced_node_name(value: &[u8]) -> Checked {
    if is_plain_name(value) { Ok(()) } else { Err("Announced human node name contained invalid character") }
}

pub(super) fn announced_ip(value: &[u8]) -> Checked {
    match value {
        _ if value.len() >= 46 => Err("cluster-announce-ip is too long"),
        _ if !is_plain_name(value) => Err("cluster-announce-ip contains invalid character"),
        _ => Ok(()),
    }
}

pub(super) fn announced_hostname(value: &[u8]) -> Checked {
    if value.len() >= 256 {
        return Err("Hostnames must be less than 256 characters");
    }
    if value.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.')) {
        return Ok(());
    }
    Err("Hostnames may only contain alphanumeric characters, hyphens or dots")
}

fn parses_as<T: std::str::FromStr>(value: &[u8]) -> bool {
    std::str::from_utf8(value).is_ok_and(|text| text.parse::<T>().is_ok())
}

pub(super) fn ipv4(value: &[u8]) -> Checked {
    let valid = value.is_empty() || parses_as::<std::net::Ipv4Addr>(value);
    if valid { Ok(()) } else { Err("Invalid IPv4 address") }
}

pub(super) fn ipv6(value: &[u8]) -> Checked {
    let valid = value.is_empty() || parses_as::<std::net::Ipv6Addr>(value);
    if valid { Ok(()) } else { Err("Invalid IPv6 address") }
}

pub(super) fn hash_seed(value: &[u8]) -> Checked {
    if value.len() <= 256 {
        return Ok(());
    }
    Err("hash-seed must be less than or equal to 256 characters")
}

/// Only the C locale exists here, under its usual names.
pub(super) fn locale(value: &[u8]) -> Checked {
    let known: [&[u8]; 5] = [b"", b"C", b"POSIX", b"C.UTF-8", b"C.utf8"];
    if known.contains(&value) { Ok(()) } else { Err("Invalid locale name") }
}

/// A template of literal text and known variables in braces; the expansion must not be empty.
pub(super) fn proc_title(value: &[u8]) -> Checked {
    const INVALID: Checked = Err("template format is invalid or contains unknown variables");
    let mut rest = value;
    let mut visible = false;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'{' || rest.first() == Some(&b'{') {
            visible |= *byte != b' ';
            rest = if *byte == b'{' { rest.get(1..).unwrap_or_default() } else { rest };
            continue;
        }
        let Some(length) = rest.iter().position(|b| *b == b'}') else { return INVALID };
        let (variable, after) = rest.split_at(length);
        match variable {
            b"title" | b"server-mode" => {}
            b"listen-addr" | b"config-file" | b"port" | b"tls-port" | b"unixsocket" => visible = true,
            _ => return INVALID,
        }
        rest = after.get(1..).unwrap_or_default();
    }
    if visible { Ok(()) } else { INVALID }
}
