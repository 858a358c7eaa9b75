//! Runs items of work in parallel: one thread for each worker, results by item, an interrupt that is heeded at once.
//!
//! Threads, not tasks: QEMU dies with the *thread* that started it (PR_SET_PDEATHSIG), so one thread starts, drives and
//! ends each guest. What is interrupted is not waited for. Its guests die with this process, which then ends.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// How soon an interrupt is heeded, and how often the caller hears that time passes.
const TICK: Duration = Duration::from_millis(100);

/// What the caller hears while it waits.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a, R> {
    /// A worker took an item up.
    Started {
        /// Its place in the list.
        index: usize,
    },
    /// An item is done.
    Finished {
        /// Its place in the list.
        index: usize,
        /// What came of it, or what its worker panicked with.
        result: &'a Result<R, String>,
    },
    /// Nothing happened.
    Tick,
}

/// What came of a list.
#[derive(Debug, PartialEq, Eq)]
pub struct Done<R> {
    /// By item; `None` where the list was interrupted first. A panic is an error with its message.
    pub results: Vec<Option<Result<R, String>>>,
    /// Whether it was.
    pub interrupted: bool,
}

#[derive(Debug)]
enum Message<R> {
    Started(usize),
    Finished(usize, Result<R, String>),
    /// The members of a group, and what was said.
    Panicked(Vec<usize>, String),
}

/// Does `work` on each of `items` with so many workers, in their order. Returns when all are done, or soon after
/// `interrupt` is set.
pub fn run_all<T, R>(
    items: Vec<T>,
    workers: usize,
    work: impl Fn(&T) -> R + Send + Sync + 'static,
    interrupt: &AtomicBool,
    on_event: impl FnMut(Event<'_, R>),
) -> Done<R>
where
    T: Send + Sync + 'static,
    R: Send + 'static,
{
    let groups = (0..items.len()).map(|index| Group { members: vec![index], waits: false }).collect();
    let workers = Workers { busy: workers, waiting: 0 };
    let work = move |group: &[&T], report: &Report<'_, R>| {
        report.started(0);
        report.finished(0, work(group[0]));
    };
    run_groups((items, groups), workers, work, interrupt, on_event)
}

/// Items that one worker does, one after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Their places.
    pub members: Vec<usize>,
    /// Whether most of the time is waiting, in which a processor has nothing to do.
    pub waits: bool,
}

/// How many groups are worked on at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workers {
    /// Of any kind: those that keep a processor busy first.
    pub busy: usize,
    /// Besides, of those that wait.
    pub waiting: usize,
}

/// Where work on a group tells how far it is, by the place in the group.
#[derive(Debug)]
pub struct Report<'a, R> {
    members: &'a [usize],
    sender: &'a mpsc::Sender<Message<R>>,
}

impl<R> Report<'_, R> {
    /// A member is taken up.
    pub fn started(&self, place: usize) {
        // Whoever waits is gone only after an interrupt, and the result is not needed.
        let _ = self.sender.send(Message::Started(self.members[place]));
    }

    /// A member is done.
    pub fn finished(&self, place: usize, result: R) {
        let _ = self.sender.send(Message::Finished(self.members[place], Ok(result)));
    }
}

/// Does `work` on groups of `items`, each a list of their places and done by one worker. A panic is the result of each member
/// of its group that has none.
pub fn run_groups<T, R>(
    (items, groups): (Vec<T>, Vec<Group>),
    workers: Workers,
    work: impl Fn(&[&T], &Report<'_, R>) + Send + Sync + 'static,
    interrupt: &AtomicBool,
    mut on_event: impl FnMut(Event<'_, R>),
) -> Done<R>
where
    T: Send + Sync + 'static,
    R: Send + 'static,
{
    let count = items.len();
    let (waiting, busy): (Vec<Group>, Vec<Group>) = groups.into_iter().partition(|group| group.waits);
    let of_busy = workers.busy.clamp(1, (busy.len() + waiting.len()).max(1));
    let of_waiting = workers.waiting.min(waiting.len());
    let (sender, receiver) = mpsc::channel();
    let queues = [Queue::of(busy), Queue::of(waiting)];
    let shared = Arc::new((items, queues, work, AtomicBool::new(false)));
    let threads: Vec<_> = (0..of_busy + of_waiting)
        .map(|number| {
            let (shared, sender) = (Arc::clone(&shared), sender.clone());
            thread::spawn(move || {
                let (items, queues, work, stop) = &*shared;
                let own = if number < of_busy { &queues[..] } else { &queues[1..] };
                while !stop.load(Ordering::Relaxed) {
                    let Some(Group { members, .. }) = own.iter().find_map(Queue::take) else { return };
                    let group: Vec<&T> = members.iter().map(|&index| &items[index]).collect();
                    let report = Report { members, sender: &sender };
                    // What a panic could leave half done belongs to this group alone.
                    let done = catch_unwind(AssertUnwindSafe(|| work(&group, &report)));
                    if let Err(panic) = done {
                        let _ = sender.send(Message::Panicked(members.clone(), words_of(panic)));
                    }
                }
            })
        })
        .collect();
    drop(sender);
    let mut results: Vec<Option<Result<R, String>>> = (0..count).map(|_| None).collect();
    let mut finish = |index: usize, result: Result<R, String>, on_event: &mut dyn FnMut(Event<'_, R>)| {
        on_event(Event::Finished { index, result: &result });
        results[index] = Some(result);
    };
    let mut is_done = vec![false; count];
    let interrupted = loop {
        if interrupt.load(Ordering::Relaxed) {
            shared.3.store(true, Ordering::Relaxed);
            break true;
        }
        match receiver.recv_timeout(TICK) {
            Ok(Message::Started(index)) => on_event(Event::Started { index }),
            Ok(Message::Finished(index, result)) => {
                is_done[index] = true;
                finish(index, result, &mut on_event);
            }
            Ok(Message::Panicked(members, words)) => {
                for index in members.into_iter().filter(|&index| !is_done[index]) {
                    finish(index, Err(words.clone()), &mut on_event);
                }
            }
            Err(RecvTimeoutError::Timeout) => on_event(Event::Tick),
            Err(RecvTimeoutError::Disconnected) => break false,
        }
    };
    if !interrupted {
        for thread in threads {
            thread.join().expect("a worker catches what its work panics with");
        }
    }
    Done { results, interrupted }
}

/// Groups that are taken one after another.
struct Queue {
    groups: Vec<Group>,
    next: AtomicUsize,
}

impl Queue {
    fn of(groups: Vec<Group>) -> Self {
        Self { groups, next: AtomicUsize::new(0) }
    }

    fn take(&self) -> Option<&Group> {
        self.groups.get(self.next.fetch_add(1, Ordering::Relaxed))
    }
}

fn words_of(panic: Box<dyn Any + Send>) -> String {
    let words = panic.downcast_ref::<&str>().map(|&text| text.to_owned());
    words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".to_owned())
}

/// How many guests fit: no more than asked for, nor than memory holds, nor than there are cells; at least one.
/// `guest_bytes` is what one of them holds.
pub fn workers(asked: usize, cells: usize, available_bytes: Option<u64>, guest_bytes: u64) -> usize {
    let fit = available_bytes
        .map_or(usize::MAX, |bytes| usize::try_from(bytes / guest_bytes.max(1)).unwrap_or(usize::MAX));
    asked.min(cells).min(fit).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc::Receiver;
    use std::time::Instant;

    static NEVER: AtomicBool = AtomicBool::new(false);

    #[test]
    fn every_item_is_done_once_and_results_stand_where_their_items_do() {
        let mut started = Vec::new();
        let mut finished = 0;
        let done = run_all(
            (0..50).collect(),
            4,
            |n| n * n,
            &NEVER,
            |event| match event {
                Event::Started { index } => started.push(index),
                Event::Finished { index, result } => {
                    assert_eq!(result, &Ok(index * index));
                    finished += 1;
                }
                Event::Tick => {}
            },
        );
        assert_eq!(done.results, (0..50).map(|n| Some(Ok(n * n))).collect::<Vec<_>>());
        started.sort_unstable();
        assert_eq!((started, finished, done.interrupted), ((0..50).collect(), 50, false));
    }

    #[test]
    fn a_panic_is_that_items_result_and_the_others_go_on() {
        let work = |n: &usize| match n {
            1 => panic!("told {n}"),
            2 => panic!("plain"),
            n => *n,
        };
        let done = run_all(vec![0, 1, 2, 3], 1, work, &NEVER, |_| {});
        let expected =
            [Some(Ok(0)), Some(Err("told 1".to_owned())), Some(Err("plain".to_owned())), Some(Ok(3))];
        assert_eq!(done.results, expected);
    }

    /// Waits on a channel: work that ends when the test says so.
    fn gate() -> (mpsc::Sender<()>, Mutex<Receiver<()>>) {
        let (open, wait) = mpsc::channel();
        (open, Mutex::new(wait))
    }

    #[test]
    fn a_slow_item_holds_up_nobody_else() {
        let (open, wait) = gate();
        let work = move |n: &usize| {
            if *n == 0 {
                wait.lock().unwrap().recv_timeout(Duration::from_secs(20)).unwrap();
            }
        };
        let mut order = Vec::new();
        run_all((0..5).collect(), 2, work, &NEVER, |event| {
            if let Event::Finished { index, result } = event {
                assert_eq!(result, &Ok(()));
                order.push(index);
                if order.len() == 4 {
                    open.send(()).unwrap();
                }
            }
        });
        assert_eq!(order.last(), Some(&0), "{order:?}");
    }

    #[test]
    fn an_interrupt_waits_for_nobody_and_keeps_what_is_done() {
        let (open, wait) = gate();
        let interrupt = AtomicBool::new(false);
        let work = move |n: &usize| {
            if *n > 0 {
                // Ends with an error when the test is over.
                let _ = wait.lock().unwrap().recv();
            }
            *n
        };
        let begun = Instant::now();
        let done = run_all((0..9).collect(), 2, work, &interrupt, |event| {
            if matches!(event, Event::Finished { index: 0, .. }) {
                interrupt.store(true, Ordering::Relaxed);
            }
        });
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert!(done.interrupted);
        assert_eq!(done.results[0], Some(Ok(0)));
        assert!(done.results[1..].iter().all(Option::is_none), "{:?}", done.results);
        drop(open);
    }

    #[test]
    fn a_panic_in_a_group_leaves_the_results_that_are_there() {
        let work = |group: &[&usize], report: &Report<'_, usize>| {
            for (place, member) in group.iter().enumerate() {
                report.started(place);
                assert!(**member != 3, "asked to");
                report.finished(place, **member);
            }
        };
        let groups = [vec![0, 2, 3], vec![4, 1]].map(|members| Group { members, waits: false }).to_vec();
        let workers = Workers { busy: 2, waiting: 0 };
        let done = run_groups(((0..5).collect(), groups), workers, work, &NEVER, |_| {});
        let [one, two, three, four, five] = &done.results[..] else { panic!("{done:?}") };
        assert_eq!([one, two, five, three], [&Some(Ok(0)), &Some(Ok(1)), &Some(Ok(4)), &Some(Ok(2))]);
        assert_eq!(four, &Some(Err("asked to".to_owned())));
    }

    #[test]
    fn what_waits_holds_up_no_processor() {
        let (open, wait) = gate();
        // The first two wait until the third is done, which is not theirs to do.
        let work = move |group: &[&usize], report: &Report<'_, ()>| {
            if *group[0] < 2 {
                wait.lock().unwrap().recv_timeout(Duration::from_secs(20)).unwrap();
            }
            report.finished(0, ());
        };
        let groups = (0..3).map(|index| Group { members: vec![index], waits: index < 2 }).collect();
        let workers = Workers { busy: 1, waiting: 2 };
        let mut order = Vec::new();
        run_groups(((0..3).collect(), groups), workers, work, &NEVER, |event| {
            if let Event::Finished { index, .. } = event {
                order.push(index);
                if index == 2 {
                    open.send(()).unwrap();
                    open.send(()).unwrap();
                }
            }
        });
        assert_eq!((order.len(), order[0]), (3, 2), "{order:?}");
    }

    #[test]
    fn nothing_to_do_is_done() {
        let done = run_all(Vec::<()>::new(), 4, |()| (), &NEVER, |_| {});
        assert_eq!(done, Done { results: Vec::new(), interrupted: false });
    }

    #[rstest::rstest]
    #[case(8, 100, Some(1000), 3)]
    #[case(2, 100, Some(1000), 2)]
    #[case(8, 1, Some(1000), 1)]
    #[case(8, 100, Some(10), 1)]
    #[case(8, 100, None, 8)]
    #[case(0, 100, None, 1)]
    fn guests_fit(
        #[case] asked: usize,
        #[case] cells: usize,
        #[case] available: Option<u64>,
        #[case] expected: usize,
    ) {
        assert_eq!(workers(asked, cells, available, 300), expected);
    }
}
