//! The task of a client for a shard: `Task` of `src/redis/link.rs`, from one reply to the next.

use super::{Command, Connection, Farewell, Message, OldConnection, Phase, Reply, Task, World};
use crate::shards::client::{AnyTickets, NextCall};

impl<T: AnyTickets + Default> World<T> {
    /// Says all that there is to say now.
    pub(super) fn say_all(&mut self, c: usize, s: usize) {
        let process = &mut self.processes[c];
        process.tasks[s].newest = process.tickets.newest();
        self.say_next(c, s);
    }

    fn say_next(&mut self, c: usize, s: usize) {
        match self.processes[c].tickets.next_call(s) {
            Some(call) => self.say(c, s, call, false),
            None => self.said(c, s),
        }
    }

    pub(super) fn say(&mut self, c: usize, s: usize, call: NextCall, ends: bool) {
        let process = &mut self.processes[c];
        let task = &mut process.tasks[s];
        process.connections[s].command =
            Some(Command::Pop { generation: task.generation, ends, call: call.clone() });
        task.call = Some(call);
        task.phase = Phase::Say;
    }

    /// Goes on when all is said: a greeting is complete, or a farewell ends the lease.
    fn said(&mut self, c: usize, s: usize) {
        let task = &mut self.processes[c].tasks[s];
        task.call = None;
        task.phase = Phase::Idle;
        if std::mem::take(&mut task.greets) {
            task.up = true;
            task.connecting = false;
            if task.farewell != Farewell::None {
                task.farewell = Farewell::SaysFinished;
                self.say_all(c, s);
            }
        } else if task.farewell == Farewell::SaysFinished {
            task.farewell = Farewell::EndsLease;
            self.say(c, s, NextCall::default(), true);
        }
    }

    /// Says hello with the next generation (R6, R11).
    pub(super) fn greet(&mut self, c: usize, s: usize) {
        let process = &mut self.processes[c];
        let task = &mut process.tasks[s];
        task.generation += 1;
        task.greets = true;
        task.beats = false;
        task.call = None;
        task.phase = Phase::Hello;
        process.connections[s].command = Some(Command::Hello(task.generation));
    }

    /// Goes on with a reply.
    pub(super) fn take_reply(&mut self, c: usize, s: usize, reply: Reply) {
        let process = &mut self.processes[c];
        let task = &mut process.tasks[s];
        match (task.phase, reply) {
            (Phase::Hello, Reply::Hello) => {
                process.tickets.ask_again(s);
                self.say_all(c, s);
            }
            (Phase::Hello, Reply::Stale(generation)) => {
                task.generation = task.generation.max(generation);
                self.greet(c, s);
            }
            (Phase::Say, Reply::Stale(_)) => self.greet(c, s),
            (Phase::Say, Reply::Pop { served, given }) => {
                let call = task.call.take().unwrap_or_default();
                process.tickets.answered(s, &call, served, &given);
                if task.farewell == Farewell::EndsLease {
                    self.end(c, s, false);
                } else if std::mem::take(&mut task.beats) {
                    self.say_all(c, s);
                } else if call.open.last().is_some_and(|o| o.ticket > task.newest) {
                    self.said(c, s);
                } else {
                    self.say_next(c, s);
                }
            }
            (phase, reply) => self.fail(format!("MODEL: reply {reply:?} in {phase:?}")),
        }
    }

    /// Ends the task. `failed`: its shard does not know that.
    pub(super) fn end(&mut self, c: usize, s: usize, failed: bool) {
        let process = &mut self.processes[c];
        process.tickets.close();
        let generation = process.tasks[s].generation;
        process.tasks[s] = Task { phase: Phase::Ended, generation, failed, closing: true, ..Task::default() };
        process.connections[s] = Connection::default();
    }

    /// Ends without a connection: at once, or after one more, if something is to be said.
    pub(super) fn end_unconnected(&mut self, c: usize, s: usize) {
        let process = &mut self.processes[c];
        process.tickets.close();
        if process.tickets.owes(s) {
            let task = &mut process.tasks[s];
            task.last = true;
            task.farewell = Farewell::SaysFinished;
        } else {
            self.end(c, s, false);
        }
    }

    /// Gives the connection up. What was written on it may still be executed if the server does not notice, and what was
    /// pushed on it read if something reads it.
    pub(super) fn leave(&mut self, c: usize, s: usize, noticed: bool, is_read: bool) {
        let connection = std::mem::take(&mut self.processes[c].connections[s]);
        if !noticed && (connection.subscribed || connection.command.is_some()) {
            let mut incoming = connection.incoming;
            incoming.retain(|m| is_read && matches!(m, Message::Push(..)));
            self.old.push(OldConnection {
                client: c as u8,
                shard: s as u8,
                subscribed: connection.subscribed,
                is_read,
                command: connection.command,
                incoming,
            });
        }
        let task = &mut self.processes[c].tasks[s];
        *task = Task {
            phase: Phase::Down,
            generation: task.generation,
            closing: task.closing,
            last: task.last,
            farewell: task.farewell,
            ..Task::default()
        };
    }

    /// Goes on after a connection broke.
    pub(super) fn broke(&mut self, c: usize, s: usize) {
        let process = &mut self.processes[c];
        let task = &process.tasks[s];
        if !task.closing {
            process.tickets.unreachable(s);
        } else if task.last {
            self.end(c, s, true);
        } else {
            self.end_unconnected(c, s);
        }
    }
}
