//! When replies are sent: a thread first serves every connection from which something came, then writes what all of them are
//! to be told. A process with several connections that is woken by a reply finds the others there, so that the system wakes it once and not
//! for each, which costs more than a small command does. (Redis does so too, in `beforeSleep`.)

use std::future::poll_fn;
use std::task::{Poll, Waker};

use parking_lot::Mutex;

/// When so many connections wait the round is over: their replies take memory, and a thread may never be without work.
pub(super) const MOST: usize = 32;

/// The rounds of one thread; each ends when there is nothing left to serve.
#[derive(Default)]
pub(crate) struct Rounds(Mutex<Round>);

#[derive(Default)]
struct Round {
    /// Connections served in this round, and in the last one with any.
    served: usize,
    before: usize,
    /// Those that wait for its end.
    waiting: Vec<Waker>,
}

impl Round {
    fn end(&mut self) {
        if self.served > 0 {
            self.before = std::mem::take(&mut self.served);
        }
        self.waiting.drain(..).for_each(Waker::wake);
    }
}

impl Rounds {
    /// Lets those go on that wait for the end of a round. To be called when the thread has nothing to do, and by who has more to do
    /// than is good for others.
    pub(crate) fn end(&self) {
        self.0.lock().end();
    }

    /// Waits, after a connection was served, until the others are; not where the last round was of one only. Whether it waited.
    pub(super) async fn over(&self) -> bool {
        let mut is_new = true;
        poll_fn(|cx| {
            if !std::mem::replace(&mut is_new, false) {
                return Poll::Ready(true);
            }
            let mut round = self.0.lock();
            round.served += 1;
            if round.before < 2 {
                return Poll::Ready(false);
            }
            round.waiting.push(cx.waker().clone());
            if round.waiting.len() == MOST {
                round.end();
            }
            Poll::Pending
        })
        .await
    }

    /// Lets others go on.
    pub(crate) async fn pause(&self) {
        self.end();
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::task::{Context, Wake};

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn a_round_of_several_is_over_for_all_at_once() {
        let (rounds, count) = (Rounds::default(), Arc::new(Count(AtomicUsize::new(0))));
        let waker = Waker::from(count.clone());
        let cx = &mut Context::from_waker(&waker);
        for _ in 0..2 {
            assert!(pin!(rounds.over()).poll(cx) == Poll::Ready(false), "nobody was served before");
        }
        rounds.end();
        let mut connections = std::array::from_fn::<_, 3, _>(|_| Box::pin(rounds.over()));
        assert!(connections.iter_mut().all(|over| over.as_mut().poll(cx).is_pending()));
        assert_eq!(count.0.load(Relaxed), 0);
        rounds.end();
        assert_eq!(count.0.load(Relaxed), 3);
        assert!(connections.iter_mut().all(|over| over.as_mut().poll(cx) == Poll::Ready(true)));
        // An end without anybody served changes nothing; a round of one is followed by one that does not wait.
        rounds.end();
        assert!(pin!(rounds.over()).poll(cx).is_pending());
        rounds.end();
        assert!(pin!(rounds.over()).poll(cx) == Poll::Ready(false));
    }

    #[test]
    fn who_waits_goes_on_though_there_is_always_somebody_to_serve() {
        let (rounds, count) = (Rounds::default(), Arc::new(Count(AtomicUsize::new(0))));
        rounds.0.lock().before = 2;
        let waker = Waker::from(count.clone());
        let cx = &mut Context::from_waker(&waker);
        let mut connections = std::array::from_fn::<_, MOST, _>(|_| Box::pin(rounds.over()));
        connections.iter_mut().for_each(|over| assert!(over.as_mut().poll(cx).is_pending()));
        assert_eq!(count.0.load(Relaxed), MOST);
    }
}
