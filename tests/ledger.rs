//! The ledger against recordings: a whole one closes, a damaged one is noticed, a lost frame is never overlooked.

#[path = "ledger/who.rs"]
mod who;

use bondlab_core::judge::ledger;
use bondlab_core::judge::ledger::LedgerError;
use bondlab_core::net::frame_set::Frames;
use bondlab_core::net::layer::Layer;
use bondlab_core::plan;
use bondlab_core::plan::moment::When;
use bondlab_core::plan::record::{DeviceState, DropPlace, QdiscState, Record, Tables};
use bondlab_core::plan::{Plan, Role};
use bondlab_core::topology::Topology;

const TOPOLOGY: &str = r#"
[ns.a.veth.x]
peer = "b:y"
addresses = ["192.0.2.1/24"]
[ns.b.veth.y]
peer = "a:x"
addresses = ["192.0.2.2/24"]
[flow.f]
from = "a:x"
to = "b:y"
frames = 10
[[step]]
flood = "f"
[[expect]]
flow = "f"
field = "lost"
at_most = 10
"#;

fn plan() -> Plan {
    bondlab_core::plan::lower::lower(&Topology::parse("t", "t.toml", TOPOLOGY).unwrap())
}

fn frames(numbers: impl IntoIterator<Item = u32>) -> Frames {
    numbers.into_iter().collect()
}

fn counters(backlog: u64) -> Vec<(bondlab_core::net::name::DeviceRef, DeviceState)> {
    let queue = QdiscState {
        kind: "plug".into(),
        parent: "root".into(),
        handle: 1,
        counters: [("drops".to_owned(), 3), ("backlog_packets".to_owned(), backlog)].into(),
    };
    let counted = DeviceState {
        counters: [("tx_packets".to_owned(), 7)].into(),
        qdiscs: vec![queue],
        ..DeviceState::default()
    };
    vec![("a:x".parse().unwrap(), counted)]
}

fn place(reason: &str) -> DropPlace {
    DropPlace {
        device: Some("a:x".parse().unwrap()),
        reason: Some(reason.into()),
        qdisc: Some("plug".into()),
        location: "__dev_queue_xmit".into(),
        stack: Vec::new(),
    }
}

/// Ten asked: seven accepted, of which five arrive and two are held; three refused, because the queue dropped them.
fn recording() -> Vec<Record> {
    let plan = plan();
    let ops = plan.trials[0].ops.len() as u32;
    let mut records = vec![Record::TrialStarted { trial: 0 }];
    records.extend((0..ops).map(|op| Record::OpDone { trial: 0, op }));
    records.extend([
        Record::Counters { trial: 0, when: When::Before, devices: Default::default() },
        Record::Counters { trial: 0, when: When::After, devices: counters(2).into_iter().collect() },
        Record::Sent {
            trial: 0,
            flow: 0,
            accepted: frames(0..7),
            refused: [("ENOBUFS".to_owned(), frames(7..10))].into(),
            unacknowledged: Frames::default(),
        },
        Record::Seen {
            trial: 0,
            flow: 0,
            frames: frames(0..5),
            duplicated: 0,
            overrun: 0,
            socket_dropped: None,
        },
        Record::Dropped { trial: 0, flow: 0, frames: frames(7..10), place: place("QDISC_DROP") },
        Record::Tables { trial: 0, tables: Tables::default() },
        Record::Observed { trial: 0, lost: 0, unavailable: None },
    ]);
    finish(records)
}

fn finish(mut records: Vec<Record>) -> Vec<Record> {
    records.push(Record::finished(&records));
    records
}

/// The recording with one record changed, removed or doubled, and a last word that fits.
fn changed(change: impl Fn(Record) -> Vec<Record>) -> Vec<Record> {
    let mut records = recording();
    records.pop();
    finish(records.into_iter().flat_map(change).collect())
}

fn close(records: &[Record]) -> Result<bondlab_core::judge::account::FlowAccount, LedgerError> {
    ledger::close(&plan(), records).map(|account| account.trials[0].flows[0].clone())
}

#[test]
fn a_whole_recording_closes() {
    let flow = close(&recording()).unwrap();
    assert_eq!((flow.asked, flow.sent, flow.delivered), (10, 7, 5));
    let fates: Vec<_> =
        flow.fates.iter().map(|f| (f.layer.to_string(), f.reason.as_str(), f.frames)).collect();
    assert_eq!(fates, [("qdisc".to_owned(), "QDISC_DROP", 3), ("qdisc".to_owned(), "BACKLOG", 2)]);
    assert!(flow.unattributed.is_empty());
}

#[test]
fn one_delivered_frame_removed_is_noticed() {
    for missing in 0..5 {
        let records = changed(|record| match record {
            Record::Seen { .. } => vec![Record::Seen {
                trial: 0,
                flow: 0,
                frames: frames((0..5).filter(|n| *n != missing)),
                duplicated: 0,
                overrun: 0,
                socket_dropped: None,
            }],
            other => vec![other],
        });
        let flow = close(&records).unwrap();
        assert_eq!(flow.unattributed.len(), 1, "without frame {missing}: {flow:?}");
    }
}

#[test]
fn one_drop_event_removed_does_not_vanish() {
    let records = changed(|record| match record {
        Record::Dropped { place, .. } => {
            vec![Record::Dropped { trial: 0, flow: 0, frames: frames(7..9), place }]
        }
        other => vec![other],
    });
    let flow = close(&records).unwrap();
    let socket: u32 = flow.fates.iter().filter(|f| f.layer.to_string() == "socket").map(|f| f.frames).sum();
    assert_eq!(socket, 1, "a refused frame without a drop event died in the socket: {flow:?}");
}

#[test]
fn a_drop_at_an_unknown_place_is_not_an_account() {
    let records = changed(|record| match record {
        Record::Dropped { .. } => {
            let place = DropPlace { location: "some_new_function".into(), ..place("NOT_SPECIFIED") };
            vec![Record::Dropped { trial: 0, flow: 0, frames: frames(7..10), place }]
        }
        other => vec![other],
    });
    let flow = close(&records).unwrap();
    assert_eq!(flow.unattributed, frames(7..10));
    assert_eq!(flow.unknown.len(), 1);
}

#[test]
fn a_queue_cannot_hold_more_than_it_says() {
    let records = changed(|record| match record {
        Record::Counters { when: When::After, .. } => {
            vec![Record::Counters { trial: 0, when: When::After, devices: counters(1).into_iter().collect() }]
        }
        other => vec![other],
    });
    assert_eq!(close(&records).unwrap().unattributed.len(), 1);
}

#[test]
fn what_is_held_where_no_counter_shows_it_has_a_place() {
    let held = Record::Drained {
        trial: 0,
        flow: 0,
        frames: frames(4..6),
        layer: Layer::Neighbour,
        device: Some("a:x".parse().unwrap()),
    };
    let records = changed(|record| match record {
        Record::Seen { .. } => vec![seen(frames(0..4), None)],
        Record::Counters { when: When::After, .. } => {
            let devices = counters(1).into_iter().collect();
            vec![Record::Counters { trial: 0, when: When::After, devices }, held.clone()]
        }
        other => vec![other],
    });
    let flow = close(&records).unwrap();
    let fates: Vec<_> =
        flow.fates.iter().map(|f| (f.layer.to_string(), f.reason.as_str(), f.frames)).collect();
    let expected = [("qdisc", "QDISC_DROP", 3), ("neighbour", "HELD", 2), ("qdisc", "BACKLOG", 1)];
    assert_eq!(fates, expected.map(|(layer, reason, frames)| (layer.to_owned(), reason, frames)));
    assert!(flow.unattributed.is_empty());
}

fn seen(frames: Frames, socket_dropped: Option<u32>) -> Record {
    Record::Seen { trial: 0, flow: 0, frames, duplicated: 0, overrun: 0, socket_dropped }
}

#[test]
fn a_socket_that_counts_other_drops_than_the_tracepoint_is_a_contradiction() {
    let with = |counted: u32| {
        changed(move |record| match record {
            Record::Seen { .. } => vec![seen(frames(0..5), Some(counted))],
            Record::Dropped { .. } => {
                let location = "udp_queue_rcv_one_skb".into();
                let place = DropPlace { device: None, qdisc: None, location, ..place("SOCKET_RCVBUFF") };
                vec![Record::Dropped { trial: 0, flow: 0, frames: frames(5..7), place }]
            }
            other => vec![other],
        })
    };
    assert!(close(&with(2)).is_ok(), "{:?}", close(&with(2)));
    for counted in [0, 1, 3] {
        assert!(matches!(close(&with(counted)), Err(LedgerError::Contradiction { .. })), "{counted}");
    }
}

#[test]
fn without_an_observer_the_counters_answer() {
    let records = changed(|record| match record {
        Record::Dropped { .. } => vec![],
        Record::Observed { .. } => {
            vec![Record::Observed { trial: 0, lost: 0, unavailable: Some("no permission".into()) }]
        }
        other => vec![other],
    });
    let flow = close(&records).unwrap();
    assert!(flow.unattributed.is_empty());
    // The refused ones are those the queue has counted: what was accepted is still in it.
    let fates: Vec<_> =
        flow.fates.iter().map(|f| (f.layer.to_string(), f.reason.as_str(), f.frames)).collect();
    assert_eq!(fates, [("qdisc".to_owned(), "COUNTED", 3), ("qdisc".to_owned(), "BACKLOG", 2)]);
}

#[test]
fn damage_is_an_error_each_time() {
    let whole = recording();
    for at in 0..whole.len() {
        let mut cut = whole.clone();
        cut.remove(at);
        assert!(ledger::close(&plan(), &cut).is_err(), "without record {at}: {:?}", whole[at]);
        let mut doubled = whole.clone();
        doubled.insert(at, whole[at].clone());
        assert!(ledger::close(&plan(), &doubled).is_err(), "with record {at} twice: {:?}", whole[at]);
    }
    for len in 0..whole.len() {
        assert!(ledger::close(&plan(), &whole[..len]).is_err(), "cut after {len}");
    }
}

#[test]
fn even_with_a_last_word_that_fits() {
    for at in 0..recording().len() - 1 {
        // A drop event that never came is a frame without a place or a refusal without a packet, not a damaged record.
        if matches!(recording()[at], Record::Dropped { .. }) {
            continue;
        }
        let mut records = recording();
        records.pop();
        let removed = records.remove(at);
        assert!(ledger::close(&plan(), &finish(records)).is_err(), "without {removed:?}");
    }
}

#[test]
fn contradictions_are_errors() {
    let sent = |accepted: Frames, refused: Frames| {
        changed(move |record| match record {
            Record::Sent { .. } => vec![Record::Sent {
                trial: 0,
                flow: 0,
                accepted: accepted.clone(),
                refused: [("ENOBUFS".to_owned(), refused.clone())].into(),
                unacknowledged: Frames::default(),
            }],
            other => vec![other],
        })
    };
    let seen = |frames: Frames, overrun| {
        changed(move |record| match record {
            Record::Seen { .. } => {
                vec![Record::Seen {
                    trial: 0,
                    flow: 0,
                    frames: frames.clone(),
                    duplicated: 0,
                    overrun,
                    socket_dropped: None,
                }]
            }
            other => vec![other],
        })
    };
    let lost = changed(|record| match record {
        Record::Observed { .. } => vec![Record::Observed { trial: 0, lost: 1, unavailable: None }],
        other => vec![other],
    });
    for (what, records) in [
        ("a frame both accepted and refused", sent(frames(0..8), frames(7..10))),
        ("a frame neither accepted nor refused", sent(frames(0..6), frames(7..10))),
        ("a frame that was never asked for", seen(frames([0, 10]), 0)),
        ("a receiver that lost frames", seen(frames(0..5), 1)),
        ("an observer that lost events", lost),
    ] {
        assert!(
            matches!(close(&records), Err(LedgerError::Contradiction { .. })),
            "{what}: {:?}",
            close(&records)
        );
    }
}

#[test]
fn only_a_mutant_trial_may_be_left_out() {
    let mut plan = plan();
    plan.trials.push(plan::Trial { role: Role::Mutant("another".into()), ops: Vec::new() });
    let with = |record: Option<Record>| {
        let mut records = recording();
        records.pop();
        records.extend(record);
        ledger::close(&plan, &finish(records))
    };
    assert_eq!(with(Some(Record::TrialLeftOut { trial: 1 })).unwrap().trials.len(), 1);
    assert!(matches!(with(None), Err(LedgerError::Absent { trial: 1, .. })));
    let records = finish(vec![Record::TrialLeftOut { trial: 0 }, Record::TrialLeftOut { trial: 1 }]);
    assert!(matches!(ledger::close(&plan, &records), Err(LedgerError::Absent { trial: 0, .. })));
}

/// The recording with one record more before its last one.
fn with(record: Record) -> Vec<Record> {
    let mut records = recording();
    records.pop();
    records.push(record);
    finish(records)
}

fn ranges(text: &str) -> Frames {
    serde_json::from_str(text).expect("ranges of numbers")
}

#[test]
fn sets_of_frames_that_overlap_are_damage() {
    for text in ["[[0,9],[0,9],[0,9]]", "[[5,6],[1,2]]", "[[3,1]]", "[[7,10]]"] {
        let records = changed(|record| match record {
            Record::Dropped { place, .. } => {
                vec![Record::Dropped { trial: 0, flow: 0, frames: ranges(text), place }]
            }
            other => vec![other],
        });
        let closed = close(&records);
        assert!(matches!(closed, Err(LedgerError::Contradiction { .. })), "{text}: {closed:?}");
    }
}

#[test]
fn records_of_what_is_not_in_the_plan_are_errors() {
    let seen = |flow| Record::Seen {
        trial: 0,
        flow,
        frames: Frames::default(),
        duplicated: 0,
        overrun: 0,
        socket_dropped: None,
    };
    for record in [
        seen(1),
        Record::Waited { trial: 0, op: 10_000, value: None, text: None, held: true },
        Record::Captured { trial: 0, capture: "none".into(), count: 1, overrun: 0 },
        Record::Silence { trial: 0, flow: 3, longest_us: 1 },
        Record::Missing { what: vec!["veth".into()] },
    ] {
        let closed = close(&with(record.clone()));
        assert!(matches!(closed, Err(LedgerError::Unknown(_))), "{record:?}: {closed:?}");
    }
}

#[test]
fn a_second_record_where_one_is_due_is_an_error() {
    let is_due_once = |record: &Record| !matches!(record, Record::Finished { .. });
    let due: Vec<Record> = recording().into_iter().filter(is_due_once).collect();
    assert!(due.len() > 8, "{due:?}");
    for record in due {
        let closed = close(&with(record.clone()));
        assert!(closed.is_err(), "{record:?}: {closed:?}");
    }
}

#[test]
fn a_queue_below_zero_holds_nothing() {
    let records = changed(|record| match record {
        Record::Counters { trial, when: When::After, .. } => vec![Record::Counters {
            trial,
            when: When::After,
            devices: counters(u64::from(u32::MAX) - 13).into_iter().collect(),
        }],
        other => vec![other],
    });
    assert_eq!(close(&records).unwrap().unattributed, frames(5..7));
}

#[test]
fn a_queue_that_is_not_on_the_way_of_a_flow_holds_none_of_its_frames() {
    let records = changed(|record| match record {
        Record::Counters { trial, when: When::After, .. } => {
            let mut devices = counters(2);
            devices[0].0 = "b:y".parse().unwrap();
            vec![Record::Counters { trial, when: When::After, devices: devices.into_iter().collect() }]
        }
        other => vec![other],
    });
    assert_eq!(close(&records).unwrap().unattributed, frames(5..7));
}
