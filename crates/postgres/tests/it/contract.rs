//! The contract that every store keeps.

use crate::TestStore;

async fn stores() -> TestStore {
    TestStore::migrated().await
}

mod users {
    tasks_testkit::user_repository_contract!(super::stores);
}
mod sessions {
    tasks_testkit::session_repository_contract!(super::stores);
}
mod tasks {
    tasks_testkit::task_repository_contract!(super::stores);
}
mod categories {
    tasks_testkit::category_repository_contract!(super::stores);
}
mod outbox {
    tasks_testkit::outbox_contract!(super::stores);
}
mod housekeeping {
    tasks_testkit::housekeeping_contract!(super::stores);
}
