//! The learner port itself: open only while this member leads, but taken from the start.
//!
//! Apache binds the port when a member begins to lead. Until then any outgoing connection of the machine
//! may get it as its local port, and a client of the ensemble that did so kept a member from leading. A
//! port that is bound is given to no such connection, and as nobody listens on it strangers are refused
//! as before. A port that another program holds all the same is noticed before an election is won.

use super::*;

/// Between attempts to bind the learner port: at first, and the longest.
const BIND_PAUSE: Duration = Duration::from_millis(50);
const BIND_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Between attempts to bind the port where a follower serves observers, and a leader's other addresses.
const PATIENT_PAUSE: Duration = Duration::from_secs(1);
/// Attempts to take the port again after leading before it counts as held: the listener of the time
/// before may not be closed yet.
const RETRIES_AFTER_LEADING: u32 = 3;

impl<S: ImageSink + Send + 'static> QuorumLinks<S> {
    /// Has the learner port here, not opened yet. Without any of it another program has it; it is tried
    /// on, and [`Event::PortFree`] tells of success.
    pub fn keep(&self, places: Vec<net::Place>) {
        let held = places.is_empty();
        *self.shared.places.lock() = places;
        if held {
            self.shared.port_held.store(true, Ordering::Relaxed);
            self.reserve();
        }
    }

    /// Takes the learner port without opening it; tries until it has it. Told by [`Event::PortHeld`] and
    /// [`Event::PortFree`].
    pub fn reserve(&self) {
        self.reserve_after(0);
    }

    fn reserve_after(&self, retries: u32) {
        let shared = Arc::clone(&self.shared);
        let task = self.shared.tasks.spawn(async move { shared.reserve(retries).await });
        if let Some(before) = self.shared.reserving.lock().replace(task) {
            before.abort();
        }
    }

    /// Opens the learner port and takes links, until [`QuorumLinks::stop_listening`]. Told by
    /// [`Event::Listening`]; by [`Event::PortHeld`] where another program holds the port, and then it is
    /// tried on.
    pub fn listen(&self) {
        if let Some(reserving) = self.shared.reserving.lock().take() {
            reserving.abort();
        }
        self.listen_at(Door::Learners);
    }

    /// The two ports are somewhere else from now on; one that is open stays where it is until it is
    /// closed.
    pub fn move_to(&self, learners: Vec<HostPort>, observers: Vec<HostPort>) {
        let mut listen = self.shared.listen.lock();
        let moved = listen.0 != learners;
        *listen = (learners, observers);
        drop(listen);
        let open = matches!(*self.shared.listener.lock(), Some((Door::Learners, _)));
        if moved && !open {
            self.shared.places.lock().clear();
            self.reserve();
        }
    }

    /// The same for the port where a follower serves observers. A failure only makes itself heard in
    /// the log: binding is tried for ever.
    pub fn listen_for_observers(&self) {
        self.listen_at(Door::Observers);
    }

    fn listen_at(&self, door: Door) {
        let mut listener = self.shared.listener.lock();
        if let Some((_, before)) = listener.take() {
            before.abort();
        }
        let shared = Arc::clone(&self.shared);
        let task = self.shared.tasks.spawn(async move { shared.serve(door).await });
        *listener = Some((door, task));
    }

    /// Closes whichever port is open; the learner port stays taken. Links stay.
    pub fn stop_listening(&self) {
        if let Some((door, listener)) = self.shared.listener.lock().take() {
            listener.abort();
            if door == Door::Learners {
                self.reserve_after(RETRIES_AFTER_LEADING);
            }
        }
    }
}

impl<S: ImageSink + Send + 'static> Shared<S> {
    async fn serve(self: Arc<Self>, door: Door) {
        let (addresses, listeners, mut rest) = match door {
            Door::Learners => self.open_learner_port().await,
            Door::Observers => self.open_observer_port().await,
        };
        let mut accepting = tokio::task::JoinSet::new();
        let accept = |set: &mut tokio::task::JoinSet<()>, listeners: Vec<TcpListener>| {
            for listener in listeners {
                let shared = Arc::clone(&self);
                set.spawn(async move { shared.accept(listener, door).await });
            }
        };
        accept(&mut accepting, listeners);
        if door == Door::Learners {
            self.tell_free();
            (self.deliver)(Event::Listening);
        }
        if !rest.is_empty() {
            tracing::warn!("this member is not reached at {}", net::Unbound::describe(&rest));
        }
        while !rest.is_empty() {
            tokio::time::sleep(PATIENT_PAUSE).await;
            let again: Vec<HostPort> =
                addresses.iter().filter(|a| rest.iter().any(|r| r.at == **a)).cloned().collect();
            let (listeners, unbound) = net::listen(&again, self.options.listen_on_all).await;
            accept(&mut accepting, listeners);
            rest = unbound;
        }
        while accepting.join_next().await.is_some() {}
    }

    /// Listens on those of the addresses that can be had, at least one.
    async fn open_learner_port(&self) -> (Vec<HostPort>, Vec<TcpListener>, Vec<net::Unbound>) {
        let addresses = self.listen.lock().0.clone();
        let places = std::mem::take(&mut *self.places.lock());
        if places.len() == addresses.len() {
            let (listeners, unbound) = net::open(places, Vec::new());
            if unbound.is_empty() {
                return (addresses, listeners, unbound);
            }
        } else {
            drop(places);
        }
        let begun = tokio::time::Instant::now();
        let (mut told, mut pause) = (false, BIND_PAUSE);
        loop {
            let (listeners, unbound) = net::listen(&addresses, self.options.listen_on_all).await;
            if !listeners.is_empty() {
                return (addresses, listeners, unbound);
            }
            if !told && begun.elapsed() >= self.options.listen_patience {
                told = true;
                pause = BIND_PAUSE_MAX;
                self.tell_held(&unbound);
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn open_observer_port(&self) -> (Vec<HostPort>, Vec<TcpListener>, Vec<net::Unbound>) {
        let addresses = self.listen.lock().1.clone();
        let mut attempts: u32 = 0;
        loop {
            let (listeners, unbound) = net::listen(&addresses, self.options.listen_on_all).await;
            if !listeners.is_empty() {
                return (addresses, listeners, unbound);
            }
            attempts = attempts.saturating_add(1);
            if attempts.is_power_of_two() {
                let why = net::Unbound::describe(&unbound);
                tracing::warn!("the port for observers (observerMasterPort) can't be bound: {why}");
            }
            tokio::time::sleep(PATIENT_PAUSE).await;
        }
    }

    async fn reserve(self: Arc<Self>, retries: u32) {
        let mut pause = BIND_PAUSE;
        for attempt in 0_u64.. {
            let addresses = self.listen.lock().0.clone();
            let (places, unbound) = net::reserve(&addresses, self.options.listen_on_all).await;
            if !places.is_empty() || addresses.is_empty() {
                *self.places.lock() = places;
                return self.tell_free();
            }
            if attempt >= retries.into() && !self.port_held.load(Ordering::Relaxed) {
                self.tell_held(&unbound);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(BIND_PAUSE_MAX);
        }
    }

    fn tell_held(&self, unbound: &[net::Unbound]) {
        self.port_held.store(true, Ordering::Relaxed);
        (self.deliver)(Event::PortHeld { reason: net::Unbound::describe(unbound) });
    }

    fn tell_free(&self) {
        if self.port_held.swap(false, Ordering::Relaxed) {
            (self.deliver)(Event::PortFree);
        }
    }
}
