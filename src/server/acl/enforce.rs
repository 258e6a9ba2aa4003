//! What users mean for clients: logging in, what is denied, and who has to go when rights are taken away.

use super::check::{Asked, Denied};
use super::log::{LogEntry, Place, Reason};
use super::user::{RuleContext, User};
use super::{Denial, Login, allows_channel, join_selectors};
use crate::resp::CommandError;
use crate::server::Server;
use crate::server::client::{Client, ClientKey};
use crate::server::command::{Args, TableEntry};
use crate::server::pubsub::{Kind, Subscriptions};

impl Server {
    /// What rules refer to.
    #[must_use]
    pub fn rule_context(&self) -> RuleContext<'static> {
        RuleContext { commands: self.commands, channels: self.config.acl_pubsub_default }
    }

    /// Has a client act as another user.
    pub fn log_in(&mut self, client: ClientKey, login: Login, authenticated: bool) {
        let restricted = self.acl.limits(&login);
        if let Some(record) = self.clients.get_mut(client) {
            (record.login, record.restricted) = (login, restricted);
            record.set_authenticated(authenticated);
        }
    }

    /// Has a client act as it would had it just connected.
    pub fn log_out(&mut self, client: ClientKey) {
        let is_open = self.acl.is_open();
        self.log_in(client, Login::Default, is_open);
    }

    /// Looks anew at who has to be checked: users, or their rights, have changed.
    pub fn users_changed(&mut self) {
        let Self { acl, clients, .. } = self;
        for client in clients.iter_mut() {
            client.restricted = acl.limits(&client.login);
        }
    }

    fn asked<'a>(&self, record: &Client, entry: &'a TableEntry, args: Args<'a>) -> Asked<'a> {
        let queued = record.transaction.as_ref().map(|transaction| transaction.database);
        let database = queued.unwrap_or(record.database);
        Asked { entry, args, database, databases: self.config.database_count() }
    }

    /// What a client lacks a permission for to run a request.
    #[must_use]
    pub fn denied(&self, client: ClientKey, entry: &TableEntry, args: Args<'_>) -> Option<Denied> {
        let record = self.clients.get(client).filter(|record| record.restricted)?;
        match self.acl.user_of(&record.login) {
            Some(user) => user.check(self.asked(record, entry, args)).err(),
            // Its user is gone, and it will be too.
            None => Some(Denied { what: Denial::Command, index: 0 }),
        }
    }

    /// What forbids a client to run a request: a permission that its user lacks.
    ///
    /// # Errors
    /// NOPERM, which is in the log then.
    pub fn check_rights(
        &mut self,
        client: ClientKey,
        entry: &'static TableEntry,
        args: Args<'_>,
    ) -> Result<(), CommandError> {
        let Some(denied) = self.denied(client, entry, args) else { return Ok(()) };
        let in_transaction = self.clients.get(client).is_some_and(|record| record.transaction.is_some());
        let place = if in_transaction { Place::Multi } else { Place::TopLevel };
        Err(self.deny(client, denied, (entry, args), place, entry))
    }

    /// Whether a client may run a request, and read any key besides.
    #[must_use]
    pub fn may_read_every_key(&self, client: ClientKey, entry: &TableEntry, args: Args<'_>) -> bool {
        let Some(record) = self.clients.get(client).filter(|record| record.restricted) else { return true };
        let user = self.acl.user_of(&record.login);
        user.is_some_and(|user| user.may_read_every_key(self.asked(record, entry, args)))
    }

    /// Notes that a request was denied, and gives the error. `running` is the command that the client is shown with.
    #[cold]
    pub fn deny(
        &mut self,
        client: ClientKey,
        denied: Denied,
        (entry, args): (&TableEntry, Args<'_>),
        place: Place,
        running: &'static TableEntry,
    ) -> CommandError {
        let denials = &mut self.stats.denied;
        match denied.what {
            Denial::Database => denials.databases += 1,
            Denial::Command => denials.commands += 1,
            Denial::Key => denials.keys += 1,
            Denial::Channel => denials.channels += 1,
        }
        let object = match (denied.what, denied.index) {
            (Denial::Command, _) | (Denial::Database, 0) => entry.full_name.as_bytes(),
            (_, index) => args.at(index),
        };
        let record = self.clients.get(client);
        let user = record.and_then(|record| record.login.name()).unwrap_or_default().to_vec();
        let error = denied.error(&user, entry);
        self.note_command(client, running);
        self.log_denial(client, Reason::Denied(denied.what), place, object, user);
        error
    }

    /// Notes that a client could not log in as `user`; `object` is the command by which it tried.
    #[cold]
    pub fn note_failed_login(&mut self, client: ClientKey, user: &[u8], object: &[u8]) {
        self.stats.denied.logins += 1;
        let in_transaction = self.clients.get(client).is_some_and(|record| record.transaction.is_some());
        let place = if in_transaction { Place::Multi } else { Place::TopLevel };
        self.log_denial(client, Reason::Auth, place, object, user.to_vec());
    }

    fn log_denial(&mut self, client: ClientKey, reason: Reason, place: Place, object: &[u8], user: Vec<u8>) {
        let now_ms = self.now_ms;
        let client = self.clients.get(client).map(|record| record.describe(now_ms, false));
        let entry = LogEntry {
            reason,
            place,
            object: object.to_vec(),
            user,
            client: client.unwrap_or_default(),
            count: 1,
            created_ms: now_ms,
            updated_ms: now_ms,
            id: 0,
        };
        let longest = usize::try_from(self.config.acllog_max_len).unwrap_or(usize::MAX);
        self.acl.log.add(entry, longest);
    }

    /// Makes or changes a user (ACL SETUSER); `running` is the client that asks for it.
    ///
    /// # Errors
    /// Which word is wrong, and why; nothing is changed then.
    pub fn set_user<'a>(
        &mut self,
        name: &[u8],
        words: impl Iterator<Item = &'a [u8]> + Clone,
        running: ClientKey,
    ) -> Result<(), CommandError> {
        let rules = join_selectors(words.clone()).map_err(|at| {
            let start = words.clone().nth(at).unwrap_or_default();
            let before = b"ERR Unmatched parenthesis in acl selector starting at '".as_slice();
            CommandError::custom([before, start, b"'."].concat())
        })?;
        let context = self.rule_context();
        let former = self.acl.user(name);
        let mut user = former.cloned().unwrap_or_else(|| User::new(name, context));
        user.apply_all(&rules, context).map_err(|(rule, error)| {
            let before = b"ERR Error in ACL SETUSER modifier '".as_slice();
            CommandError::custom([before, &rule, b"': ", error.text().as_bytes()].concat())
        })?;
        let left = former.and_then(|former| user.channels_left(former));
        self.acl.put(user);
        if let Some(left) = left {
            self.close_subscribers(name, &left, Some(running));
        }
        self.users_changed();
        Ok(())
    }

    /// Deletes a user and closes its clients; says whether there was one.
    pub fn delete_user(&mut self, name: &[u8], running: ClientKey) -> bool {
        let was_there = self.acl.remove(name).is_some();
        if was_there {
            self.close_clients_of(name, Some(running));
        }
        was_there
    }

    /// Closes the clients of a user that is no more.
    pub(super) fn close_clients_of(&mut self, name: &[u8], running: Option<ClientKey>) {
        for client in self.clients_of(name, |_| true) {
            // Until it is closed it is to have no rights.
            self.log_in(client, Login::Default, false);
            self.kick(client, running);
        }
    }

    /// Closes the clients of a user that subscribe to what is not in `left`, the channels that the user may still use.
    pub(super) fn close_subscribers(&mut self, name: &[u8], left: &[Vec<u8>], running: Option<ClientKey>) {
        let exceeds = |subscriptions: &Subscriptions| {
            [(Kind::Channel, false), (Kind::Pattern, true), (Kind::Shard, false)].into_iter().any(
                |(kind, is_pattern)| {
                    let names = subscriptions.names(kind);
                    names.iter().any(|name| !allows_channel(left, name, is_pattern))
                },
            )
        };
        let goes = |client: &Client| client.subscriptions.as_deref().is_some_and(exceeds);
        for client in self.clients_of(name, goes) {
            self.kick(client, running);
        }
    }

    fn clients_of(&self, name: &[u8], wanted: impl Fn(&Client) -> bool) -> Vec<ClientKey> {
        let clients = self.clients.iter().filter(|client| client.login.name() == Some(name));
        clients.filter(|client| wanted(client)).map(|client| client.key).collect()
    }
}
