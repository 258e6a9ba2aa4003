//! The tasks that wait for a file which a helper thread writes, reads or opens, and then have the client answered.

use std::rc::Rc;

use tokio::sync::oneshot;

use super::Shared;
use crate::server::Engine;
use crate::server::acl::PendingLoad;
use crate::server::aof::PendingChange;
use crate::server::file_save::PendingSave;

/// Has a file written.
pub async fn save_file(shared: Rc<Shared>, pending: Box<PendingSave>) {
    let (tell, ended) = oneshot::channel();
    // Nobody asks any more only when the process ends.
    shared.engine.borrow().server.submit_save(pending, |ended| drop(tell.send(ended)));
    if let Ok(ended) = ended.await {
        shared.engine.borrow_mut().server.end_save(ended);
        shared.wake_executor();
    }
}

/// Has the file of users read.
pub async fn load_users(shared: Rc<Shared>, pending: Box<PendingLoad>) {
    let (tell, ended) = oneshot::channel();
    shared.engine.borrow().server.submit_load(pending, |ended| drop(tell.send(ended)));
    if let Ok(ended) = ended.await {
        shared.engine.borrow_mut().server.end_load(ended);
        shared.wake_executor();
    }
}

/// Turns the append-only file on or off, once those who asked before have been served.
pub async fn change_aof(shared: Rc<Shared>, mut change: Box<PendingChange>) {
    let _turn = shared.aof_changes.lock().await;
    loop {
        let (tell, done) = oneshot::channel();
        let tell = || {
            let _ = tell.send(());
        };
        if !shared.engine.borrow_mut().server.prepare_change(&mut change, tell) {
            break;
        }
        if done.await.is_err() {
            return;
        }
        shared.engine.borrow_mut().server.hear_of_aof();
    }
    {
        let Engine { keyspace, server } = &mut *shared.engine.borrow_mut();
        server.end_change(keyspace, &change);
    }
    shared.wake_executor();
}
