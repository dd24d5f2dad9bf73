//! Housekeeping: now and then beside the serving, and once by `task-api cleanup`.

use std::time::Duration;

use tasks_domain::housekeeping::{HousekeepingService, Leftover};
use tasks_domain::store::StoreError;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::config::Config;
use crate::failure::Failure;
use crate::metrics;
use crate::store::Store;

/// Not at the start, when there is enough to do.
const FIRST: Duration = Duration::from_mins(1);

/// Often enough that each time is quick.
const INTERVAL: Duration = Duration::from_mins(10);

/// Cleans up now and then, until the task is aborted.
pub(crate) fn start(service: HousekeepingService) -> JoinHandle<()> {
    tokio::spawn(async move {
        tokio::time::sleep(FIRST).await;
        loop {
            for what in Leftover::ALL {
                if let Err(error) = clean_up(&service, what).await {
                    let error = Failure::causes(&error);
                    warn!(what = what.as_str(), error, "could not clean up");
                }
            }
            tokio::time::sleep(INTERVAL).await;
        }
    })
}

async fn clean_up(service: &HousekeepingService, what: Leftover) -> Result<u64, StoreError> {
    let removed = service.clean_up(what).await?;
    if removed > 0 {
        metrics::count_removed(what, removed);
        info!(what = what.as_str(), removed, "cleaned up");
    }
    Ok(removed)
}

/// `task-api cleanup`: removes what is over, and says how much of it there was, a line for each kind.
pub(crate) fn cleanup(config: &Config) -> Result<String, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("cannot start threads", &error))?
        .block_on(cleanup_once(config))
}

async fn cleanup_once(config: &Config) -> Result<String, Failure> {
    let store = Store::open(config)?;
    let service = store.ports().housekeeping_service(config);
    let report = clean_up_all(&service).await;
    store.close().await;
    report.map_err(|error| Failure::new("cannot clean up", &error))
}

async fn clean_up_all(service: &HousekeepingService) -> Result<String, StoreError> {
    let (mut lines, mut failed) = (Vec::new(), None);
    for what in Leftover::ALL {
        match service.clean_up(what).await {
            Ok(removed) => lines.push(format!("removed {removed} {}\n", what.as_str())),
            // Another kind may be possible, and make this one so the next time.
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(lines.concat()), Err)
}

#[cfg(test)]
mod tests {
    use crate::config::Source;

    use super::*;

    #[test]
    fn cleaning_up_says_what_was_removed() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/tasks.db", folder.path().display());
        let source = Source::new([("DATABASE_URL".into(), url.into())]);
        let config = Config::read(&source, false).unwrap();

        let failure = cleanup(&config).unwrap_err().to_string();
        assert!(failure.starts_with("cannot clean up: "), "{failure}");

        crate::migrate::migrate(&config, crate::migrate::Direction::Up).unwrap();
        assert_eq!(
            cleanup(&config).unwrap(),
            "removed 0 refresh_tokens\nremoved 0 sessions\nremoved 0 mail_tokens\n\
             removed 0 dead_mails\nremoved 0 deleted_tasks\n"
        );
    }
}
