//! The HELP subcommand of every container, derived from the specifications of its subcommands.
//!
//! The frame is Valkey's: a heading, two lines for each subcommand (its syntax, then what it does), and HELP itself.

use crate::server::Context;
use crate::server::command::{Arg, ArgKind, Args, Command, Outcome};

/// Replies the help of the container that was called.
///
/// # Errors
/// None; the type is a handler's.
pub(super) fn container_help(cx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let Some(container) = cx.server.commands.get(args.at(0)) else { return Ok(()) };
    let container = container.command;
    let listed: Vec<&Command> = container.subcommands.iter().filter(|sub| sub.name != "help").collect();
    let name = container.name.to_ascii_uppercase();
    cx.reply.array(1 + 2 * listed.len() + 2);
    cx.reply.simple(&format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for subcommand in listed {
        cx.reply.simple(&format!("{}{}", subcommand.name.to_ascii_uppercase(), syntax(subcommand.arguments)));
        cx.reply.simple(&format!("    {}", subcommand.summary));
    }
    cx.reply.simple("HELP");
    cx.reply.simple("    Print this help.");
    Ok(())
}

/// The arguments as a line, each with a blank before it.
fn syntax(arguments: &[Arg]) -> String {
    arguments.iter().filter(|arg| arg.deprecated.is_empty()).map(|arg| format!(" {}", one(arg))).collect()
}

fn one(arg: &Arg) -> String {
    let joined = |separator| arg.arguments.iter().map(one).collect::<Vec<_>>().join(separator);
    let value = match arg.kind {
        ArgKind::PureToken => String::new(),
        ArgKind::OneOf => format!("({})", joined("|")),
        ArgKind::Block => joined(" "),
        _ => format!("<{}>", arg.name),
    };
    let words = [arg.token, value.as_str()];
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    let mut text = words.join(" ");
    if arg.multiple {
        text.push_str(" [...]");
    }
    if arg.optional { format!("[{text}]") } else { text }
}
