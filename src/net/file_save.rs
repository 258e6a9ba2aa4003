//! The tasks that wait for a file which a helper thread writes, reads or opens, and then have the client answered.

use std::rc::Rc;

use tokio::sync::oneshot;

use super::Shared;
use crate::server::Engine;
use crate::server::acl::PendingLoad;
use crate::server::aof::{PendingChange, Preparation};
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

/// Waits until the helper thread of the append-only file has done all that it was given, and takes that in; `false` when
/// the process ends.
pub async fn await_aof(shared: &Shared) -> bool {
    let (tell, done) = oneshot::channel();
    shared.engine.borrow().server.aof.queue().submit(|_| {
        let _ = tell.send(());
    });
    let is_done = done.await.is_ok();
    if is_done {
        shared.engine.borrow_mut().server.hear_of_aof();
    }
    is_done
}

async fn prepare_aof(shared: &Shared, preparation: &mut Preparation) -> bool {
    while shared.engine.borrow_mut().server.prepare_aof(preparation) {
        if !await_aof(shared).await {
            return false;
        }
    }
    true
}

/// Turns the append-only file on or off, or deletes its history, once those who asked before have been served.
pub async fn change_aof(shared: Rc<Shared>, mut change: Box<PendingChange>) {
    let _turn = shared.aof_changes.lock().await;
    if !prepare_aof(&shared, &mut change.preparation).await {
        return;
    }
    let outcome = {
        let Engine { keyspace, server } = &mut *shared.engine.borrow_mut();
        server.end_change(keyspace, &change)
    };
    while shared.engine.borrow().server.goes_on_cleaning(&mut change) {
        if !await_aof(&shared).await {
            return;
        }
    }
    shared.engine.borrow_mut().server.answer_change(&change, outcome);
    shared.wake_executor();
}

/// Turns the append-only file on again after the data of a primary has come.
pub async fn resume_aof(shared: Rc<Shared>) {
    let _turn = shared.aof_changes.lock().await;
    if prepare_aof(&shared, &mut Preparation::of_resumption()).await {
        let Engine { keyspace, server } = &mut *shared.engine.borrow_mut();
        server.end_resumption(keyspace);
    }
    shared.wake_executor();
}
