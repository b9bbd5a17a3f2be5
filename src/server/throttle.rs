//! The connection throttle: a bucket of tokens, and optionally a chance of being dropped that grows
//! while the bucket is empty (Apache `BlueThrottle`, `connection_throttle_*`).

use crate::config::Throttle;
use crate::types::Instant;

use super::clock::{Clock, Spread};

/// See the module.
#[derive(Debug)]
pub struct ConnectThrottle {
    options: Throttle,
    /// Tokens that a new session costs, with weights.
    new_session: u64,
    tokens: u64,
    tokens_max: u64,
    fill_count: u64,
    filled: Instant,
    adjusted: Instant,
    drop_chance: f64,
    spread: Spread,
}

impl ConnectThrottle {
    /// A full bucket; without tokens it is off. `local`: new sessions are local ones.
    pub fn new(options: &Throttle, local: bool, clock: &Clock) -> ConnectThrottle {
        let options = options.clone();
        let weight =
            if options.connection_weights { u64::from(options.global_session_weight) } else { 1 };
        let tokens_max = u64::from(options.connection_tokens) * weight;
        ConnectThrottle {
            tokens: tokens_max,
            tokens_max,
            fill_count: u64::from(options.connection_fill_count) * weight,
            filled: clock.mono(),
            adjusted: clock.mono(),
            drop_chance: 0.0,
            spread: Spread::new(clock),
            new_session: match local {
                true => options.local_session_weight.into(),
                false => options.global_session_weight.into(),
            },
            options,
        }
    }

    /// The present chance of being dropped, for `mntr`.
    pub fn drop_chance(&self) -> f64 {
        self.drop_chance
    }

    /// Whether a connection may have a session now, a new one or its old one.
    pub fn admits(&mut self, now: Instant, is_new: bool) -> bool {
        if self.tokens_max == 0 {
            return true;
        }
        let need = match (self.options.connection_weights, is_new) {
            (false, _) => 1,
            (true, true) => self.new_session,
            (true, false) => u64::from(self.options.renew_session_weight),
        };
        let fill_time_ms = self.options.connection_fill_time_ms.max(1);
        let fills = now.since(self.filled).as_millis() as u64 / fill_time_ms;
        if fills > 0 {
            let more = fills.saturating_mul(self.fill_count);
            self.tokens = self.tokens.saturating_add(more).min(self.tokens_max);
            self.filled = now;
        }
        if self.options.connection_freeze_time_ms >= 0 && self.is_dropped(now) {
            return false;
        }
        if self.tokens < need {
            return false;
        }
        self.tokens -= need;
        true
    }

    fn is_dropped(&mut self, now: Instant) -> bool {
        let freeze_ms = self.options.connection_freeze_time_ms.max(0) as u128;
        if now.since(self.adjusted).as_millis() > freeze_ms {
            let used = self.tokens_max - self.tokens;
            let low = (self.tokens_max as f64 * self.options.connection_decrease_ratio).round();
            if self.tokens == 0 {
                self.drop_chance += self.options.connection_drop_increase;
            } else if used as f64 <= low {
                self.drop_chance -= self.options.connection_drop_decrease;
            }
            self.drop_chance = self.drop_chance.clamp(0.0, 1.0);
            self.adjusted = now;
        }
        let draw = (self.spread.next() >> 11) as f64 / (1_u64 << 53) as f64;
        draw < self.drop_chance
    }
}
