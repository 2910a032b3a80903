//! SnapStart: from the moment at which the runtime is ready for a snapshot to the first event after a restore.
//!
//! ```text
//!   Pending ── runtime: restore/next, or /next ──► Asked ── Lambda: 200 ──► everything anew ──► Restored
//!      ▲                                             │
//!      └──────── Lambda refuses restore/next ────────┘
//! ```
//!
//! One snapshot becomes many sandboxes. So before the runtime hears of a restore, or Lambda is asked for an event, all that
//! was made before is made anew: connections to Lambda, the connection to the extension, its identity, its connections to
//! the store, and the handler's token. A runtime that asks for an event without having asked for a restore (an image that
//! only allows snapshots) is waited for all the same: the shim asks in its name.

use std::path::PathBuf;

use hyper::{Method, Response};

use super::{Child, Conductor};
use crate::body::{Body, Whole};
use crate::coordinator::Coordinator;
use crate::error::AppError;
use crate::message::{Message, Reply};
use crate::platform;
use crate::token_file::TokenFile;
use crate::upstream::{Head, Post, UpstreamError, own_head};

/// What a restore needs, and how far it is.
#[derive(Debug)]
pub struct Snapshot {
    socket: PathBuf,
    token_file: TokenFile,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Pending,
    /// With the runtime's call, unless the shim asks in its name.
    Asked(Option<Reply>),
    Restored,
}

impl Snapshot {
    /// A sandbox that is not restored yet.
    #[must_use]
    pub const fn new(socket: PathBuf, token_file: TokenFile) -> Self {
        Self { socket, token_file, phase: Phase::Pending }
    }
}

impl Conductor {
    /// Whether no event may be asked for yet.
    pub(super) fn awaits_restore(&self) -> bool {
        self.snapshot.as_ref().is_some_and(|snapshot| !matches!(snapshot.phase, Phase::Restored))
    }

    /// The runtime is ready for a snapshot; one that was started later, in place of another, need not wait for it.
    pub(super) fn restore_asked(&mut self, head: Head, reply: Reply) {
        if self.awaits_restore() {
            self.ask_for_restore(head, Some(reply));
        } else {
            // The runtime may have gone.
            let _ = reply.send(platform::restored());
        }
    }

    /// The runtime asks for an event without having asked for a restore.
    pub(super) fn restore_unasked(&mut self) {
        self.ask_for_restore(own_head(Method::GET, platform::RESTORE_NEXT), None);
    }

    fn ask_for_restore(&mut self, head: Head, reply: Option<Reply>) {
        let Some(snapshot) = &mut self.snapshot else { return };
        let asked = matches!(snapshot.phase, Phase::Asked(_));
        snapshot.phase = Phase::Asked(reply);
        if asked {
            return;
        }
        let (upstream, outbox) = (self.upstream.clone(), self.outbox.clone());
        tokio::spawn(async move {
            let answer = upstream.post(&Post { head, body: Whole::default() }).await;
            // Nobody hears it only when the process ends.
            let _ = outbox.send(Message::Restored(answer));
        });
    }

    /// Lambda answered. What fails here ends the sandbox: it would go on as another's twin.
    pub(super) async fn restored(&mut self, answer: Result<Response<Body>, UpstreamError>) -> Result<(), AppError> {
        let answer = answer?;
        let restored = answer.status().is_success();
        if restored {
            self.make_anew().await?;
        }
        let Some(snapshot) = &mut self.snapshot else { return Ok(()) };
        let phase = if restored { Phase::Restored } else { Phase::Pending };
        match std::mem::replace(&mut snapshot.phase, phase) {
            Phase::Asked(Some(reply)) => {
                // The runtime may have gone; then its end is heard next.
                let _ = reply.send(answer);
            }
            Phase::Asked(None) | Phase::Pending | Phase::Restored if !restored => {
                return Err(AppError::NotRestored(answer.status()));
            }
            Phase::Asked(None) | Phase::Pending | Phase::Restored => {}
        }
        if restored && (self.waiting.is_some() || self.child == Child::Down) {
            self.poll();
        }
        Ok(())
    }

    async fn make_anew(&mut self) -> Result<(), AppError> {
        self.upstream.forget_connections();
        let Some(snapshot) = &self.snapshot else { return Ok(()) };
        let restored = Coordinator::restore(&snapshot.socket).await;
        let path = || snapshot.socket.clone();
        let (coordinator, attached) =
            restored.map_err(|source| AppError::ExtensionUnreachable { path: path(), source })?;
        if let Some(token) = &attached.token {
            snapshot.token_file.write(token).map_err(AppError::TokenFile)?;
        }
        tracing::debug!(sandbox = %attached.sandbox, "restored from a snapshot");
        self.coordinator = coordinator;
        Ok(())
    }
}
