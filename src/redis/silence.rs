//! Whether a server that is connected has fallen silent: it owes answers, and has given none for a while.
//!
//! Only when an answer is overdue, after `response_timeout`, does its connection count as lost. Until then what may go to
//! another server as well does so.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// For how long at least a server gives no answer until it counts as silent. A busy one that is wrongly taken for silent
/// costs little: what is kept from it goes to others, and comes to it when these are full.
const SILENCE: Duration = Duration::from_millis(50);
/// The same in times of what an answer usually takes, for one that is far away.
const USUAL: u32 = 4;
/// For how long it counts as silent when whoever waited for its answer has given up: then it is asked again.
const DOUBT: Duration = Duration::from_secs(1);

/// The answers that a server owes on one connection.
#[derive(Debug)]
pub(super) struct Answers {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    owed: usize,
    /// Until when it counts as silent because some gave up waiting when it was, and no answer came since.
    doubted_until: Option<Instant>,
    /// When the last answer came, or was first owed.
    since: Instant,
    /// How long answers took of late.
    usual: Duration,
}

/// An answer that is owed. Dropped, whoever waited for it has given up.
#[derive(Debug)]
pub(super) struct Owed<'a> {
    answers: &'a Answers,
    asked: Instant,
    came: bool,
}

impl Answers {
    pub(super) fn new() -> Self {
        let state = State { owed: 0, doubted_until: None, since: Instant::now(), usual: Duration::ZERO };
        Self { state: Mutex::new(state) }
    }

    /// Something was asked.
    pub(super) fn owe(&self) -> Owed<'_> {
        let asked = Instant::now();
        let mut state = self.lock();
        if state.owed == 0 && !state.is_in_doubt(asked) {
            state.since = asked;
            state.doubted_until = None;
        }
        state.owed += 1;
        drop(state);
        Owed { answers: self, asked, came: false }
    }

    /// Since when the server counts as silent, or from when on it will if no answer comes; nothing if it owes none.
    pub(super) fn silent_from(&self) -> Option<Instant> {
        let state = self.lock();
        let owes = state.owed > 0 || state.is_in_doubt(Instant::now());
        owes.then(|| state.silent_from())
    }

    /// Whether the server owes any.
    pub(super) fn are_owed(&self) -> bool {
        self.lock().owed > 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// From when on it counts as silent while it owes an answer.
    fn silent_from(&self) -> Instant {
        self.since + SILENCE.max(USUAL * self.usual)
    }

    /// Whether somebody gave up waiting for a silent server, not long ago.
    fn is_in_doubt(&self, now: Instant) -> bool {
        self.doubted_until.is_some_and(|until| now < until)
    }
}

impl Owed<'_> {
    /// The answer came, or the connection ended.
    pub(super) fn came(mut self) {
        self.came = true;
    }
}

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut state = self.answers.lock();
        state.owed -= 1;
        if self.came {
            state.since = now;
            state.doubted_until = None;
            // One that took for ever tells nothing about the next.
            let took = (now - self.asked).min(DOUBT);
            state.usual = state.usual * 7 / 8 + took / 8;
        } else if now >= state.silent_from() {
            // A caller that gives up sooner tells nothing about the server.
            state.doubted_until = Some(now + DOUBT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pass(time: Duration) {
        tokio::time::advance(time).await;
    }

    impl Answers {
        fn is_silent(&self) -> bool {
            self.silent_from().is_some_and(|from| from <= Instant::now())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_is_silent_while_it_owes_answers_and_gives_none() {
        let answers = Answers::new();
        pass(2 * SILENCE).await;
        assert!(!answers.is_silent(), "it owes nothing");
        let (first, second) = (answers.owe(), answers.owe());
        assert!(!answers.is_silent());
        pass(SILENCE).await;
        assert!(answers.is_silent());
        first.came();
        assert!(!answers.is_silent(), "it has answered something");
        pass(2 * SILENCE).await;
        assert!(answers.is_silent(), "it owes the second");
        second.came();
        pass(2 * SILENCE).await;
        assert!(!answers.is_silent());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_far_away_may_take_its_usual_time() {
        let answers = Answers::new();
        for _ in 0..30 {
            let asked = answers.owe();
            pass(2 * SILENCE).await;
            asked.came();
        }
        let _asked = answers.owe();
        pass(4 * SILENCE).await;
        assert!(!answers.is_silent());
        pass(6 * SILENCE).await;
        assert!(answers.is_silent());
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_does_not_make_it_answer_but_it_is_asked_again_after_a_while() {
        let answers = Answers::new();
        let asked = answers.owe();
        pass(2 * SILENCE).await;
        drop(asked);
        assert!(answers.is_silent());
        let asked = answers.owe();
        assert!(answers.is_silent(), "asking alone is no answer");
        drop(asked);
        pass(DOUBT).await;
        assert!(!answers.is_silent());
        let asked = answers.owe();
        assert!(!answers.is_silent());
        pass(SILENCE).await;
        assert!(answers.is_silent());
        asked.came();
        assert!(!answers.is_silent());
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_at_once_says_nothing_and_who_does_late_says_it_from_then_on() {
        let answers = Answers::new();
        drop(answers.owe());
        pass(SILENCE).await;
        assert!(!answers.is_silent(), "a call that was dropped at once");
        let asked = answers.owe();
        pass(2 * DOUBT).await;
        drop(asked);
        assert!(answers.is_silent());
        pass(DOUBT).await;
        assert!(!answers.is_silent());
    }
}
