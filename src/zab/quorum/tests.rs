use super::*;

fn ids(set: &[i64]) -> BTreeSet<ServerId> {
    set.iter().map(|i| ServerId(*i)).collect()
}

fn met(rule: &Rule, set: &[i64]) -> bool {
    rule.is_met(|s| set.contains(&s.0))
}

#[test]
fn majority_of_every_size() {
    for n in 1..=7_i64 {
        let rule = Rule::majority((1..=n).map(ServerId));
        for mask in 0..1_u32 << n {
            let set: Vec<i64> = (1..=n).filter(|i| mask >> (i - 1) & 1 == 1).collect();
            assert_eq!(met(&rule, &set), set.len() * 2 > n as usize, "{set:?} of {n}");
        }
        assert!(!met(&rule, &[90, 91, 92, 93, 94, 95, 96, 97]), "strangers don't count");
    }
}

#[test]
fn groups_need_a_majority_of_majorities() {
    let group = |members: &[(i64, u64)]| {
        members.iter().map(|(i, w)| (ServerId(*i), *w)).collect::<BTreeMap<_, _>>()
    };
    let rule = Rule::Groups(vec![
        group(&[(1, 1), (2, 1), (3, 1)]),
        group(&[(4, 1), (5, 1), (6, 1)]),
        group(&[(7, 1), (8, 1), (9, 1)]),
    ]);
    assert!(met(&rule, &[1, 2, 4, 5]));
    assert!(!met(&rule, &[1, 2, 3, 4, 7]), "one whole group and single members");
    assert!(!met(&rule, &[1, 4, 7]));
    let weighted = Rule::Groups(vec![group(&[(1, 3), (2, 1), (3, 1)]), group(&[(4, 0), (5, 0)])]);
    assert!(met(&weighted, &[1]), "the group that weighs nothing isn't counted");
    assert!(!met(&weighted, &[2, 3, 4, 5]));
    assert_eq!(weighted.weight(ServerId(1)), 3);
    assert_eq!(weighted.weight(ServerId(4)), 0);
    assert!(weighted.is_voter(ServerId(4)) && !weighted.is_voter(ServerId(9)));
    assert_eq!(weighted.voters(), ids(&[1, 2, 3, 4, 5]));
}

#[test]
fn quorums_of_one_rule_always_intersect() {
    let group = |members: &[i64], w: u64| {
        members.iter().map(|i| (ServerId(*i), w)).collect::<BTreeMap<_, _>>()
    };
    let rules = [
        Rule::majority((1..=6).map(ServerId)),
        Rule::Groups(vec![group(&[1, 2, 3], 1), group(&[4, 5], 2), group(&[6], 1)]),
        Rule::Groups(vec![group(&[1, 2], 1), group(&[3, 4], 1), group(&[5, 6], 1)]),
    ];
    for rule in rules {
        let quorum: Vec<u32> =
            (0..64_u32).filter(|m| rule.is_met(|s| m >> (s.0 - 1) & 1 == 1)).collect();
        assert!(quorum.iter().all(|a| quorum.iter().all(|b| a & b != 0)), "{rule:?}");
    }
}

#[test]
fn old_and_new_must_both_agree() {
    let quorum = Quorum {
        current: Rule::majority([1, 2, 3].map(ServerId)),
        next: Some(Rule::majority([3, 4, 5].map(ServerId))),
    };
    assert!(quorum.is_met_by(&ids(&[2, 3, 4])));
    assert!(!quorum.is_met_by(&ids(&[1, 2, 3])));
    assert!(!quorum.is_met_by(&ids(&[3, 4, 5])));
    assert!(quorum.is_voter(ServerId(1)) && quorum.is_voter(ServerId(5)));
    assert_eq!(quorum.voters(), ids(&[1, 2, 3, 4, 5]));
}
