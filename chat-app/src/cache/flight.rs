//! Requests of this process for the same thing share one flight: one does the work, the others wait for its result. What
//! [`super::lock`] does among servers, this does among the requests of one server, without a round trip.

use std::collections::HashMap;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;

type Flight<T> = Shared<BoxFuture<'static, Option<T>>>;

/// Flights by what they fetch.
pub struct Flights<K, T: Clone> {
    open: Arc<Mutex<HashMap<K, Flight<T>>>>,
}

impl<K, T> Flights<K, T>
where
    K: Hash + Eq + Clone + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// None yet.
    pub fn new() -> Self {
        Self { open: Arc::default() }
    }

    /// Joins the flight for `key`, or begins it with `work`, which goes on even when whoever began it goes away. Gives
    /// the result, `None` if the work panicked, and whether it was begun here.
    pub async fn join(&self, key: &K, work: impl FnOnce() -> BoxFuture<'static, T>) -> (Option<T>, bool) {
        let mut is_first = false;
        let flight = {
            let mut open = self.open.lock();
            open.entry(key.clone()).or_insert_with(|| {
                is_first = true;
                self.begin(key.clone(), work())
            });
            open[key].clone()
        };
        (flight.await, is_first)
    }

    fn begin(&self, key: K, work: BoxFuture<'static, T>) -> Flight<T> {
        let open = self.open.clone();
        let task = tokio::spawn(async move {
            let result = AssertUnwindSafe(work).catch_unwind().await.ok();
            open.lock().remove(&key);
            result
        });
        async move { task.await.ok().flatten() }.boxed().shared()
    }
}

impl<K, T> Default for Flights<K, T>
where
    K: Hash + Eq + Clone + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::Flights;
    use futures_util::FutureExt;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::time::Duration;

    #[tokio::test]
    async fn one_does_the_work_for_all() {
        let (flights, runs) = (Arc::new(Flights::new()), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..100)
            .map(|_| {
                let (flights, runs) = (flights.clone(), runs.clone());
                tokio::spawn(async move {
                    let work = || {
                        async move {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                            runs.fetch_add(1, Relaxed)
                        }
                        .boxed()
                    };
                    flights.join(&"key", work).await.0
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), Some(0));
        }
        assert_eq!(runs.load(Relaxed), 1);
        assert!(flights.open.lock().is_empty());
    }

    #[tokio::test]
    async fn a_panic_and_a_caller_that_leaves_strand_nobody() {
        let flights: Arc<Flights<&str, usize>> = Arc::new(Flights::new());
        let (result, _) = flights.join(&"key", || async { panic!("on purpose") }.boxed()).await;
        assert_eq!(result, None);
        let work = || {
            async {
                tokio::time::sleep(Duration::from_millis(30)).await;
                7
            }
            .boxed()
        };
        let left = tokio::time::timeout(Duration::from_millis(1), flights.join(&"key", work)).await;
        assert!(left.is_err(), "the first caller gave up");
        assert_eq!(flights.join(&"key", || async { 8 }.boxed()).await.0, Some(7), "its work went on");
        tokio::task::yield_now().await;
        assert_eq!(flights.join(&"key", || async { 9 }.boxed()).await.0, Some(9));
    }
}
