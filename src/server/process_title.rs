//! What process listings show for the server, made from `proc-title-template`.

use super::Server;
use crate::sys::process;

/// Sets the title as the options say. To be called at start and when a template or an address changes.
pub fn show(server: &Server) {
    if server.config.set_proc_title {
        process::set_title(&expand(server, &server.config.proc_title_template.as_str()));
    }
}

fn expand(server: &Server, template: &str) -> String {
    let mut title = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        title.push_str(before);
        if let Some(after) = after.strip_prefix('{') {
            title.push('{');
            rest = after;
            continue;
        }
        // The template was checked when it was set: every brace is closed and every name is known.
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        title.push_str(&variable(server, name));
        rest = after;
    }
    title.push_str(rest);
    title.trim_matches(' ').to_owned()
}

fn variable(server: &Server, name: &str) -> String {
    let config = &server.config;
    match name {
        "title" => server.identity.program.clone(),
        "listen-addr" if config.port != 0 => {
            let address = config.bind.0.first().map_or_else(|| "*".to_owned(), |a| a.as_str().into_owned());
            format!("{address}:{}", config.port)
        }
        "listen-addr" => format!("unixsocket:{}", config.unixsocket.as_str()),
        "config-file" if server.identity.config_file.is_empty() => "-".to_owned(),
        "config-file" => server.identity.config_file.clone(),
        "port" => config.port.to_string(),
        "tls-port" => config.tls_port.to_string(),
        "server-mode" if server.cluster.is_some() => "[cluster]".to_owned(),
        "unixsocket" => config.unixsocket.as_str().into_owned(),
        _ => String::new(),
    }
}
