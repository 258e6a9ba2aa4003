//! The task that waits for a file which a helper thread writes, and then has its client answered.

use std::rc::Rc;

use tokio::sync::oneshot;

use super::Shared;
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
