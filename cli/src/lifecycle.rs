//! The life of one sandbox as Lambda's Runtime and Extensions APIs see it: a state without I/O, clock or processes.
//!
//! ```text
//!              every extension registers       runtime and extensions in /next
//!   Starting ───────────────────────────► … ─────────────────────────────────► Idle
//!                                                                              │  ▲
//!                                     begin: INVOKE to extensions, event to runtime │  │ runtime and INVOKE
//!                                                                              ▼  │ extensions in /next
//!                                                          Open ──────────────► Answered
//!                                                              /response, /error
//!   any ── process exits, init/error, exit/error ──► Fault        any ── shut_down ──► ShuttingDown
//! ```
//!
//! The caller gets the answer at `Answered`; the sandbox is free again at `Idle`. The first fault is the one that counts.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use aft_protocol::id::RequestId;

use crate::fault::Fault;
use crate::invocation::{Answer, Event};

/// What an extension may subscribe to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subscription {
    Invoke,
    Shutdown,
}

/// Why Lambda ends a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShutdownReason {
    Spindown,
    Timeout,
    Failure,
}

impl ShutdownReason {
    /// As in the `SHUTDOWN` event.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Spindown => "spindown",
            Self::Timeout => "timeout",
            Self::Failure => "failure",
        }
    }
}

/// What an extension's `/next` answers.
#[derive(Debug, Clone)]
pub(crate) enum ExtensionEvent {
    Invoke(Arc<Event>),
    Shutdown { reason: ShutdownReason, deadline_ms: u64 },
}

/// Why a call of a process was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallRefusal {
    #[error("Invalid request ID")]
    InvalidRequestId,
    #[error("The invocation is over")]
    StaleInvocation,
    #[error("State transition is not allowed")]
    InvalidState,
    #[error("The extension is registered already")]
    AlreadyRegistered,
    #[error("Extensions register before the runtime is ready")]
    RegistrationClosed,
    #[error("An internal extension cannot subscribe to SHUTDOWN")]
    InternalShutdown,
    #[error("Unknown extension identifier")]
    UnknownExtension,
}

#[derive(Debug)]
struct Extension {
    id: String,
    name: String,
    subscriptions: BTreeSet<Subscription>,
    polling: bool,
    pending: VecDeque<ExtensionEvent>,
}

impl Extension {
    fn is_waiting(&self) -> bool {
        self.polling && self.pending.is_empty()
    }
}

#[derive(Debug)]
struct Current {
    event: Arc<Event>,
    answer: Option<Answer>,
}

/// How far a restore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Restore {
    /// There is no snapshot.
    No,
    /// The runtime is not ready for one.
    Unasked,
    /// It waits for the restore.
    Asked,
    Done,
}

#[derive(Debug)]
pub(crate) struct Lifecycle {
    restore: Restore,
    /// Names of the extension processes; any other extension runs inside the runtime process.
    external: BTreeSet<String>,
    extensions: Vec<Extension>,
    runtime_waits: bool,
    /// Set by the runtime's first `/next`.
    runtime_started: bool,
    current: Option<Current>,
    fault: Option<Fault>,
    shutting_down: bool,
}

impl Lifecycle {
    /// A sandbox with these extension processes, which is to be restored from a snapshot or not.
    pub(crate) fn new(external: BTreeSet<String>, snap_start: bool) -> Self {
        Self {
            external,
            restore: if snap_start { Restore::Unasked } else { Restore::No },
            extensions: Vec::new(),
            runtime_waits: false,
            runtime_started: false,
            current: None,
            fault: None,
            shutting_down: false,
        }
    }

    // What the host does and waits for.

    /// `Ok` once every extension process has registered.
    pub(crate) fn registered(&self) -> Option<Result<(), Fault>> {
        let registered = |name: &String| self.extensions.iter().any(|extension| extension.name == *name);
        self.reached(self.external.iter().all(registered))
    }

    /// `Ok` once the runtime waits for its restore, and every extension for its first event.
    pub(crate) fn ready_for_snapshot(&self) -> Option<Result<(), Fault>> {
        self.reached(self.restore == Restore::Asked && self.extensions.iter().all(Extension::is_waiting))
    }

    /// The sandbox has been restored.
    pub(crate) fn restore(&mut self) {
        self.restore = Restore::Done;
    }

    /// Whether it has.
    pub(crate) fn is_restored(&self) -> bool {
        self.restore == Restore::Done
    }

    /// `Ok` once the runtime and every extension wait for the first event.
    pub(crate) fn initialized(&self) -> Option<Result<(), Fault>> {
        self.reached(self.runtime_waits && self.extensions.iter().all(Extension::is_waiting))
    }

    /// Hands an event to the runtime and to the extensions that want one.
    pub(crate) fn begin(&mut self, event: Event) {
        let event = Arc::new(event);
        for extension in &mut self.extensions {
            if extension.subscriptions.contains(&Subscription::Invoke) {
                extension.pending.push_back(ExtensionEvent::Invoke(Arc::clone(&event)));
            }
        }
        self.current = Some(Current { event, answer: None });
    }

    /// The answer, once there is one; an answer counts even if the sandbox broke right after it.
    pub(crate) fn answered(&self) -> Option<Result<Answer, Fault>> {
        match self.current.as_ref().and_then(|current| current.answer.clone()) {
            Some(answer) => Some(Ok(answer)),
            None => self.fault.clone().map(Err),
        }
    }

    /// `Ok` once the sandbox is free for another invocation.
    pub(crate) fn settled(&self) -> Option<Result<(), Fault>> {
        let invoked = |extension: &&Extension| extension.subscriptions.contains(&Subscription::Invoke);
        let answered = self.current.as_ref().is_none_or(|current| current.answer.is_some());
        self.reached(
            answered && self.runtime_waits && self.extensions.iter().filter(invoked).all(Extension::is_waiting),
        )
    }

    fn reached(&self, reached: bool) -> Option<Result<(), Fault>> {
        match &self.fault {
            Some(fault) => Some(Err(fault.clone())),
            None => reached.then_some(Ok(())),
        }
    }

    /// The fault, if there was one.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault.clone()
    }

    /// Notes a fault. The first one counts: the others follow from it. A process that ends while the sandbox is shut
    /// down does as it was told.
    pub(crate) fn fail(&mut self, fault: Fault) {
        if !self.shutting_down {
            self.fault.get_or_insert(fault);
        }
    }

    /// Tells the extensions that want to know that the sandbox ends.
    pub(crate) fn shut_down(&mut self, reason: ShutdownReason, deadline_ms: u64) {
        self.shutting_down = true;
        for extension in &mut self.extensions {
            if extension.subscriptions.contains(&Subscription::Shutdown) {
                extension.pending.push_back(ExtensionEvent::Shutdown { reason, deadline_ms });
            }
        }
    }

    /// Whether an extension is to be given the time to shut down.
    pub(crate) fn wants_shutdown(&self, name: &str) -> bool {
        let subscribed = |extension: &Extension| extension.subscriptions.contains(&Subscription::Shutdown);
        self.extensions.iter().any(|extension| extension.name == name && subscribed(extension))
    }

    // What the runtime calls.

    /// The runtime is ready for a snapshot.
    pub(crate) fn runtime_asks_for_restore(&mut self) -> Result<(), CallRefusal> {
        if self.fault.is_some() || !matches!(self.restore, Restore::Unasked | Restore::Asked) {
            return Err(CallRefusal::InvalidState);
        }
        self.restore = Restore::Asked;
        Ok(())
    }

    /// The runtime asks for the next event.
    pub(crate) fn runtime_asks(&mut self) -> Result<(), CallRefusal> {
        if self.fault.is_some() || matches!(self.restore, Restore::Unasked | Restore::Asked) {
            return Err(CallRefusal::InvalidState);
        }
        self.runtime_started = true;
        self.runtime_waits = true;
        Ok(())
    }

    /// The event of the open invocation: the same one until it is answered.
    pub(crate) fn take_event(&mut self) -> Option<Arc<Event>> {
        let open = self.current.as_ref().filter(|current| current.answer.is_none())?;
        self.runtime_waits = false;
        Some(Arc::clone(&open.event))
    }

    /// The runtime answers, with `/response` or `/error`.
    pub(crate) fn answer(
        &mut self,
        request: &RequestId,
        invocation: Option<&str>,
        answer: Answer,
    ) -> Result<(), CallRefusal> {
        self.may_answer(request, invocation)?;
        if let Some(current) = &mut self.current {
            current.answer = Some(answer);
        }
        Ok(())
    }

    /// Whether the runtime may answer this request now.
    pub(crate) fn may_answer(&self, request: &RequestId, invocation: Option<&str>) -> Result<(), CallRefusal> {
        let current = self.current.as_ref().ok_or(CallRefusal::InvalidRequestId)?;
        // First, because a retry has the same request id as the invocation that it follows.
        if invocation.is_some_and(|invocation| invocation != current.event.invocation_id) {
            return Err(CallRefusal::StaleInvocation);
        }
        if *request != current.event.request.id {
            return Err(CallRefusal::InvalidRequestId);
        }
        if current.answer.is_some() { Err(CallRefusal::InvalidState) } else { Ok(()) }
    }

    /// The runtime could not start.
    pub(crate) fn runtime_init_failed(&mut self, document: Answer) -> Result<(), CallRefusal> {
        if self.runtime_started || self.fault.is_some() {
            return Err(CallRefusal::InvalidState);
        }
        self.fail(Fault::RuntimeInit { document });
        Ok(())
    }

    // What extensions call.

    /// An extension registers; `id` will be its identifier.
    pub(crate) fn register(
        &mut self,
        id: String,
        name: String,
        subscriptions: BTreeSet<Subscription>,
    ) -> Result<(), CallRefusal> {
        if self.runtime_started || self.fault.is_some() || self.shutting_down {
            return Err(CallRefusal::RegistrationClosed);
        }
        if self.extensions.iter().any(|extension| extension.name == name) {
            return Err(CallRefusal::AlreadyRegistered);
        }
        if subscriptions.contains(&Subscription::Shutdown) && !self.external.contains(&name) {
            return Err(CallRefusal::InternalShutdown);
        }
        self.extensions.push(Extension { id, name, subscriptions, polling: false, pending: VecDeque::new() });
        Ok(())
    }

    /// An extension asks for its next event. Only one call at a time.
    pub(crate) fn extension_asks(&mut self, id: &str) -> Result<(), CallRefusal> {
        if self.fault.as_ref().is_some_and(|fault| matches!(fault, Fault::ExtensionReported { .. })) {
            return Err(CallRefusal::InvalidState);
        }
        let extension = self.extension(id)?;
        if extension.polling {
            return Err(CallRefusal::InvalidState);
        }
        extension.polling = true;
        Ok(())
    }

    /// The extension's next event, which ends its call.
    pub(crate) fn take_extension_event(&mut self, id: &str) -> Option<ExtensionEvent> {
        let extension = self.extension(id).ok()?;
        let event = extension.pending.pop_front()?;
        extension.polling = false;
        Some(event)
    }

    /// The extension's call ended without an event: its connection is gone.
    pub(crate) fn extension_hung_up(&mut self, id: &str) {
        if let Ok(extension) = self.extension(id) {
            extension.polling = false;
        }
    }

    /// An extension gives up.
    pub(crate) fn extension_failed(&mut self, id: &str, error_type: String) -> Result<(), CallRefusal> {
        let name = self.extension(id)?.name.clone();
        self.fail(Fault::ExtensionReported { name, error_type });
        Ok(())
    }

    fn extension(&mut self, id: &str) -> Result<&mut Extension, CallRefusal> {
        self.extensions.iter_mut().find(|extension| extension.id == id).ok_or(CallRefusal::UnknownExtension)
    }
}
