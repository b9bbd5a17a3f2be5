use super::*;
use crate::testing::finite_rng::Xorshift;

#[test]
fn an_index_holds_what_a_map_holds_through_growth_and_removal() {
    let mut rng = Xorshift::new(7);
    let mut index = Index::new();
    let mut model = std::collections::BTreeMap::new();
    for id in 0..60_000_u32 {
        let hash = rng.next() as u32;
        index.insert(hash, id);
        model.insert(id, hash);
        if id % 3 == 0 {
            let victim = rng.below(u64::from(id) + 1) as u32;
            let hash = model.remove(&victim);
            assert_eq!(hash.is_some_and(|hash| index.remove(hash, victim)), hash.is_some());
        }
    }
    assert_eq!(index.len(), model.len());
    for (&id, &hash) in &model {
        assert_eq!(index.find(hash, |found| found == id), Some(id));
    }
    for (id, hash) in model {
        assert!(index.remove(hash, id));
        assert!(!index.remove(hash, id));
    }
    assert_eq!(index.len(), 0);
}

#[test]
fn equal_hashes_are_only_slow() {
    let mut index = Index::new();
    for id in 0..4000 {
        index.insert(0xdead_beef, id);
    }
    for id in 0..4000 {
        assert_eq!(index.find(0xdead_beef, |found| found == id), Some(id));
    }
    assert_eq!(index.find(0xdead_beee, |_| true), None);
}
