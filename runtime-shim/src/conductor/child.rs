//! The child, from start to start: its time limit in an attempt, its failed init, and what follows its end.

use std::process::ExitStatus;

use hyper::StatusCode;
use tokio::time::Instant;

use super::open::Open;
use super::{Child, Conductor, post_init_error};
use crate::error::AppError;
use crate::invocation::{Event, State};
use crate::message::Reply;
use crate::platform;
use crate::upstream::Post;

impl Conductor {
    pub(super) fn start_child(&mut self) -> Result<(), AppError> {
        self.supervisor.spawn().map_err(AppError::Spawn)?;
        self.child = Child::Starting;
        self.started = Instant::now();
        Ok(())
    }

    /// Until when the attempt may run that runs now.
    pub(super) fn attempt_limit(&self) -> Option<Instant> {
        let open = self.open.as_ref().filter(|open| !open.overdue && self.child == Child::Up)?;
        match open.state() {
            State::Begun | State::Delivered | State::Streaming => Some(open.since + self.policy.attempt_limit?),
            State::Beginning
            | State::Responded
            | State::Committing
            | State::Aborting(_)
            | State::Redeliver
            | State::Released(_)
            | State::Failed(_) => None,
        }
    }

    /// A runtime that hangs is killed. What it says before it is dead still counts.
    pub(super) fn attempt_is_overdue(&mut self) {
        if let Some(open) = &mut self.open {
            let (transaction, attempt) = (open.transaction, open.attempt);
            tracing::warn!(%transaction, %attempt, "the attempt runs for {:?}: the runtime is killed", open.since.elapsed());
            open.overdue = true;
            self.supervisor.kill();
        }
    }

    /// A child cannot start, and says why.
    pub(super) async fn init_failed(&mut self, post: Post, reply: Reply) {
        if !self.initialised {
            let answer = self.upstream.post(&post).await.unwrap_or_else(|error| {
                tracing::error!("posting the runtime's init error: {error}");
                platform::refused(StatusCode::BAD_GATEWAY, "Aft.RuntimeApi", &error.to_string())
            });
            self.init_error_posted = true;
            // The runtime may have gone.
            let _ = reply.send(answer);
            return;
        }
        tracing::warn!("the runtime could not start again: {}", String::from_utf8_lossy(&post.body.data));
        if let Some(open) = &mut self.open {
            open.init_error = Some(post);
        }
        // The runtime may have gone.
        let _ = reply.send(platform::accepted());
    }

    pub(super) async fn exited(&mut self, status: Option<ExitStatus>) -> Result<Option<u8>, AppError> {
        let was = std::mem::replace(&mut self.child, Child::Down);
        self.waiting = None;
        if *self.stopping.borrow() {
            return Ok(Some(0));
        }
        let said = platform::exit_message(None, status);
        if !self.initialised {
            tracing::error!("the runtime ended before it asked for an event: {said}");
            if !self.init_error_posted {
                self.post_init_error(&said).await;
            }
            return Ok(Some(exit_code(status)));
        }
        match self.open.take() {
            Some(open) if was == Child::Starting || matches!(open.state(), State::Delivered | State::Streaming) => {
                self.crashed(open, was, status).await?;
            }
            // It had ended its attempt and not yet taken the next: nothing of the transaction's is lost.
            Some(mut open) => {
                open.overdue = false;
                tracing::info!("the runtime ended between two attempts, and is started again: {said}");
                self.open = Some(open);
                self.start_child()?;
            }
            None => return self.died_idle(was, &said, status),
        }
        Ok(None)
    }

    async fn crashed(&mut self, mut open: Box<Open>, was: Child, status: Option<ExitStatus>) -> Result<(), AppError> {
        if was == Child::Up {
            // Beside what follows; a child that cannot even start waits for the decision.
            self.start_child()?;
        }
        open.exit = status;
        open.step(if open.overdue { Event::TimedOut } else { Event::Crashed })?;
        self.conduct(open).await
    }

    fn died_idle(&mut self, was: Child, said: &str, status: Option<ExitStatus>) -> Result<Option<u8>, AppError> {
        if self.refused.is_some() {
            // Told by Lambda to end, it ended.
            return Ok(Some(exit_code(status)));
        }
        self.idle_deaths += 1;
        if was == Child::Up && self.idle_deaths == 1 {
            tracing::warn!("the runtime ended between two invocations, and is started again: {said}");
            self.start_child()?;
        } else {
            tracing::warn!("the runtime ended without taking an event, and is started again with the next: {said}");
            self.poll();
        }
        Ok(None)
    }

    async fn post_init_error(&self, said: &str) {
        if let Err(error) = post_init_error(&self.upstream, "Runtime.ExitError", said).await {
            tracing::error!("telling Lambda that the runtime did not start: {error}");
        }
    }
}

/// The child's exit code, or that of a shell for a signal.
fn exit_code(status: Option<ExitStatus>) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status.and_then(|status| status.code().or_else(|| status.signal().map(|signal| 128 + signal)));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
