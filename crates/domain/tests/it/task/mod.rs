//! The use cases of tasks over mocked ports.

mod categories;
mod create;
mod delete;
mod edit;
mod list;

use std::sync::Arc;

use tasks_domain::category::{Category, MockCategoryRepository};
use tasks_domain::id::Id;
use tasks_domain::task::{MockTaskRepository, Task, TaskService};
use tasks_testkit::clock::FrozenClock;
use tasks_testkit::ids::SequentialIds;

/// The ports of a service. A mock refuses every call that a test does not expect, so that what is
/// not expected here is asserted not to happen.
#[derive(Default)]
struct Ports {
    tasks: MockTaskRepository,
    categories: MockCategoryRepository,
}

impl Ports {
    /// A store in which a lookup of a task finds this.
    fn finding(task: Option<&Task>) -> Self {
        Self::default().and_task(task)
    }

    fn and_task(mut self, task: Option<&Task>) -> Self {
        let task = task.cloned();
        self.tasks.expect_find().once().return_once(|_| Ok(task));
        self
    }

    /// A store in which a lookup of a category finds this.
    fn and_category(mut self, category: Option<&Category>) -> Self {
        let category = category.cloned();
        self.categories
            .expect_find()
            .once()
            .return_once(|_| Ok(category));
        self
    }

    fn service(self) -> TaskService {
        TaskService::new(
            Arc::new(self.tasks),
            Arc::new(self.categories),
            Arc::new(FrozenClock::at_noon()),
            Arc::new(SequentialIds::default()),
        )
    }
}

fn none<T>() -> Id<T> {
    tasks_testkit::build::id()
}
