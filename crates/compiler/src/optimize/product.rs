//! Products of 64 by 64 bits, as guests make them from pieces of 32 bits: WebAssembly had nothing for the high half for long, so
//! compilers call functions like `__multi3`, and programs have their own.
//!
//! # What the high half is
//!
//! ```text
//!   x = 2^32 x1 + x0                            HH = x1 y1      HL = x1 y0
//!   y = 2^32 y1 + y0                            LH = x0 y1      LL = x0 y0
//!
//!   high half of x y  =  HH + floor(T / 2^32)   where T = HL + LH + high(LL), which may have more than 64 bits
//! ```
//!
//! There are several ways to add that up without losing a carry, and each in many orders. All consist of sums `S` that do not overflow,
//! whose high parts are what is added to HH and whose low parts may go into other sums:
//!
//! ```text
//!   t = HL + high(LL)    u = LH + low(t)                 HH + high(t) + high(u)
//!   u = high(LL) + low(HL) + low(LH)                     HH + high(HL) + high(LH) + high(u)
//! ```
//!
//! # How it is recognised
//!
//! As algebra, not by shape. For any such sum `2^32 high(S) = S - low(S)`. Given a tree of additions with the leaves HH and
//! some `high(S)`, the sum of all `S - low(S)` is written as a linear combination of what cannot be taken apart any more, and T is
//! subtracted. If what remains is `-low(S)` for one S, then 2^32 times the sum of the `high(S)` is T less a number in `0..2^32`,
//! and the sum is floor(T / 2^32). Whatever else is in the tree is added as before; if that is the correction for signs, the product is of
//! signed numbers.
//!
//! The low half is an ordinary multiplication, or `low(LL) + 2^32 (HL + LH + high(LL))` from the same pieces, which is recognised
//! likewise, but modulo 2^32. It becomes the other result of the same instruction.

use super::look;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{
    Block, DataFlowGraph, Function, Inst, InstBuilder, InstructionData, Opcode, Value, types,
};
use smallvec::{SmallVec, smallvec};
use std::collections::{HashMap, HashSet};

/// Leaves of a tree of additions that are looked at.
const MAX_LEAVES: usize = 12;

/// Terms of a sum that is looked at.
const MAX_TERMS: usize = 8;

/// High halves in a tree that is looked at, and products that are tried out for it.
const MAX_HIGHS: usize = 6;
const MAX_TRIES: usize = 4;

/// A factor below 2^32.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Factor {
    Low(Value),
    High(Value),
    Constant(u32),
}

/// A product of two factors, the lesser one first.
type Product = (Factor, Factor);

/// What cannot be taken apart any more.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Term {
    Product(Product),
    LowOf(Value),
    HighOf(Value),
    LowOfProduct(Product),
    HighOfProduct(Product),
}

/// A sum of terms.
type Sum = SmallVec<[Term; MAX_TERMS]>;

/// Two numbers whose product is meant.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
struct Factors {
    x: Number,
    y: Number,
}

/// A number of 64 bits.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
enum Number {
    Value(Value),
    Constant(u64),
}

impl Number {
    /// From its halves.
    fn new(high: Factor, low: Factor) -> Option<Number> {
        match (high, low) {
            (Factor::High(h), Factor::Low(l)) if h == l => Some(Number::Value(h)),
            (Factor::Constant(h), Factor::Constant(l)) => {
                Some(Number::Constant(u64::from(h) << 32 | u64::from(l)))
            }
            _ => None,
        }
    }

    fn halves(self) -> (Factor, Factor) {
        match self {
            Number::Value(v) => (Factor::High(v), Factor::Low(v)),
            Number::Constant(c) => (
                Factor::Constant((c >> 32) as u32),
                Factor::Constant(c as u32),
            ),
        }
    }
}

/// The products of the halves of two numbers.
struct Parts {
    ll: Product,
    lh: Product,
    hl: Product,
}

impl Factors {
    fn parts(self) -> Parts {
        let ((x1, x0), (y1, y0)) = (self.x.halves(), self.y.halves());
        Parts {
            ll: ordered(x0, y0),
            lh: ordered(x0, y1),
            hl: ordered(x1, y0),
        }
    }
}

fn ordered(a: Factor, b: Factor) -> Product {
    (a.min(b), a.max(b))
}

/// What an instruction is replaced by.
enum Found {
    /// The sum of the high half of a product and of the other values.
    High(Factors, SmallVec<[Value; MAX_LEAVES]>),
    /// The low half.
    Low(Factors),
}

/// Replaces products made of pieces, and sums they are part of.
pub(super) fn run(function: &mut Function) {
    let mut candidates = Vec::new();
    let mut seen_product = false;
    for block in function.layout.blocks() {
        for inst in function.layout.block_insts(block) {
            let InstructionData::Binary { opcode, args } = function.dfg.insts[inst] else {
                continue;
            };
            match opcode {
                Opcode::Imul => {
                    seen_product |= is_product_of_high_halves(&function.dfg, args);
                    candidates.push((block, inst));
                }
                Opcode::Iadd | Opcode::Bor => candidates.push((block, inst)),
                _ => {}
            }
        }
    }
    if !seen_product {
        return;
    }
    let candidates: Vec<_> = candidates
        .into_iter()
        .filter(|&(_, inst)| look::is_64(&function.dfg, function.dfg.first_result(inst)))
        .collect();

    let mut products = Products::default();
    let mut found = HashMap::new();
    for &(block, inst) in &candidates {
        if let Some((factors, rest)) = high_half(&function.dfg, inst, &found) {
            let ll = factors.parts().ll;
            products.by_lowest.entry(ll).or_insert(factors);
            products.by_block.insert((block, factors));
            found.insert(inst, Found::High(factors, rest));
        }
    }
    if !found.is_empty() {
        replace(function, &candidates, &products, found);
    }
}

/// The products whose high halves were found.
#[derive(Default)]
struct Products {
    /// By LL, the first one of each.
    by_lowest: HashMap<Product, Factors>,
    /// In which blocks.
    by_block: HashSet<(Block, Factors)>,
}

/// Replaces the high halves, and the low halves of the same products.
fn replace(
    function: &mut Function,
    candidates: &[(Block, Inst)],
    products: &Products,
    mut found: HashMap<Inst, Found>,
) {
    for &(block, inst) in candidates {
        let dfg = &function.dfg;
        if !found.contains_key(&inst)
            && let Some(factors) =
                low_half(dfg, inst, products).or_else(|| whole_product(dfg, block, inst, products))
        {
            found.insert(inst, Found::Low(factors));
        }
    }
    // In which block a product has been computed already.
    let mut computed: HashMap<(Factors, bool), (Block, Value, Value)> = HashMap::new();
    for &(block, inst) in candidates {
        let Some(what) = found.remove(&inst) else {
            continue;
        };
        let (factors, rest, low) = match what {
            Found::High(factors, rest) => (factors, rest, false),
            Found::Low(factors) => (factors, smallvec![], true),
        };
        let (signed, rest) = if low {
            (false, rest)
        } else {
            without_sign_correction(&function.dfg, factors, rest)
        };
        let known = computed
            .get(&(factors, signed))
            .filter(|(there, ..)| *there == block)
            // The low halves of signed and of unsigned products are the same.
            .or_else(|| {
                let other = computed.get(&(factors, !signed))?;
                (low && other.0 == block).then_some(other)
            })
            .copied();
        let result = function.dfg.first_result(inst);
        let mut cursor = FuncCursor::new(function).at_inst(inst);
        cursor.use_srcloc(inst);
        let (low_half, high_half) = match known {
            Some((_, low, high)) => (low, high),
            None => {
                let halves = multiply(&mut cursor, factors, signed);
                computed.insert((factors, signed), (block, halves.0, halves.1));
                halves
            }
        };
        let replacement = if low {
            low_half
        } else {
            rest.into_iter()
                .fold(high_half, |sum, leaf| cursor.ins().iadd(leaf, sum))
        };
        function.dfg.clear_results(inst);
        function.dfg.change_to_alias(result, replacement);
        function.layout.remove_inst(inst);
    }
}

/// Both halves of a product.
fn multiply(cursor: &mut FuncCursor<'_>, factors: Factors, signed: bool) -> (Value, Value) {
    let [x, y] = [factors.x, factors.y].map(|number| {
        let value = match number {
            Number::Value(value) => value,
            Number::Constant(c) => cursor.ins().iconst(types::I64, c as i64),
        };
        match signed {
            true => cursor.ins().sextend(types::I128, value),
            false => cursor.ins().uextend(types::I128, value),
        }
    });
    let product = cursor.ins().imul(x, y);
    cursor.ins().isplit(product)
}

/// Does it multiply numbers of which one, at least, is a high half?
fn is_product_of_high_halves(dfg: &DataFlowGraph, args: [Value; 2]) -> bool {
    let is_high = |v| look::high_half_of(dfg, v).is_some();
    let [a, b] = args.map(|arg| dfg.resolve_aliases(arg));
    is_high(a) || is_high(b)
}

/// The number below 2^32 that a value of 64 bits is.
fn factor(dfg: &DataFlowGraph, value: Value) -> Option<Factor> {
    if let Some(constant) = look::constant(dfg, value) {
        return u32::try_from(constant).ok().map(Factor::Constant);
    }
    if let Some(whole) = look::high_half_of(dfg, value) {
        return Some(Factor::High(whole));
    }
    if let Some(narrow) = look::extended_from(dfg, value, types::I32) {
        let whole = look::unary(dfg, Opcode::Ireduce, narrow).filter(|&v| look::is_64(dfg, v))?;
        // A high half may have been narrowed and extended again.
        return Some(match look::high_half_of(dfg, whole) {
            Some(whole) => Factor::High(whole),
            None => Factor::Low(whole),
        });
    }
    look::low_half_of(dfg, value).map(Factor::Low)
}

/// The factors that a value of 64 bits is the product of.
fn product(dfg: &DataFlowGraph, value: Value) -> Option<Product> {
    let [a, b] = look::binary(dfg, Opcode::Imul, value)?;
    Some(ordered(factor(dfg, a)?, factor(dfg, b)?))
}

/// The low half of a value as a term.
fn low_of(dfg: &DataFlowGraph, value: Value) -> Term {
    product(dfg, value).map_or(Term::LowOf(value), Term::LowOfProduct)
}

/// The high half of a value as a term.
fn high_of(dfg: &DataFlowGraph, value: Value) -> Term {
    product(dfg, value).map_or(Term::HighOf(value), Term::HighOfProduct)
}

/// The leaves of the tree of additions that made a value, by a walk of limited length. Some additions may be `whole`: leaves.
fn leaves(
    dfg: &DataFlowGraph,
    value: Value,
    limit: usize,
    whole: impl Fn(Inst) -> bool,
) -> Option<SmallVec<[Value; MAX_LEAVES]>> {
    let mut open: SmallVec<[Value; MAX_LEAVES]> = smallvec![value];
    let mut leaves = SmallVec::new();
    while let Some(value) = open.pop() {
        match look::binary(dfg, Opcode::Iadd, value) {
            Some([left, right]) if !look::maker(dfg, value).is_some_and(&whole) => {
                open.extend([right, left]);
            }
            _ => leaves.push(value),
        }
        if open.len() + leaves.len() > limit {
            return None;
        }
    }
    Some(leaves)
}

/// What a value is the sum of, if no addition in it can overflow.
fn exact_sum(dfg: &DataFlowGraph, value: Value) -> Option<Sum> {
    let mut sum = Sum::new();
    let mut bound: u64 = 0;
    for leaf in leaves(dfg, value, MAX_TERMS, |_| false)? {
        let (term, greatest) = if let Some(product) = product(dfg, leaf) {
            (Term::Product(product), look::LOW_HALF * look::LOW_HALF)
        } else if let Some(whole) = look::low_half_of(dfg, leaf) {
            (low_of(dfg, whole), look::LOW_HALF)
        } else {
            let whole = look::high_half_of(dfg, leaf)?;
            (high_of(dfg, whole), look::LOW_HALF)
        };
        bound = bound.checked_add(greatest)?;
        sum.push(term);
    }
    Some(sum)
}

/// What a value is the sum of, modulo 2^32.
fn sum_of_low_halves(dfg: &DataFlowGraph, value: Value) -> Option<Sum> {
    let low = |value| match factor(dfg, value) {
        Some(factor) => Some(factor),
        None => match look::constant(dfg, value) {
            Some(constant) => Some(Factor::Constant(constant as u32)),
            None => Some(Factor::Low(value)),
        },
    };
    let mut open: SmallVec<[Value; MAX_TERMS]> = smallvec![value];
    let mut sum = Sum::new();
    let mut steps = 0;
    while let Some(value) = open.pop() {
        steps += 1;
        if steps > 4 * MAX_TERMS || open.len() + sum.len() >= MAX_TERMS {
            return None;
        }
        if let Some([left, right]) = look::binary(dfg, Opcode::Iadd, value) {
            open.extend([left, right]);
        } else if let Some([left, right]) = look::binary(dfg, Opcode::Imul, value) {
            sum.push(Term::Product(ordered(low(left)?, low(right)?)));
        } else if let Some(whole) = look::low_half_of(dfg, value) {
            open.push(whole);
        } else {
            let whole = look::high_half_of(dfg, value)?;
            sum.push(high_of(dfg, whole));
        }
    }
    Some(sum)
}

/// Which numbers' product has its high half among the leaves of this addition, and the other leaves.
fn high_half(
    dfg: &DataFlowGraph,
    inst: Inst,
    known: &HashMap<Inst, Found>,
) -> Option<(Factors, SmallVec<[Value; MAX_LEAVES]>)> {
    if dfg.insts[inst].opcode() != Opcode::Iadd {
        return None;
    }
    // Trees that have a high half already are not looked into again by those that they are parts of.
    let whole = |inst| known.contains_key(&inst);
    let leaves = leaves(dfg, dfg.first_result(inst), MAX_LEAVES, whole)?;
    // The leaves that are the high half of a sum, with that sum.
    let highs: SmallVec<[(usize, Value, Sum); 4]> = leaves
        .iter()
        .enumerate()
        .filter_map(|(position, &leaf)| {
            let whole = look::high_half_of(dfg, leaf)?;
            Some((position, whole, exact_sum(dfg, whole)?))
        })
        .collect();
    if highs.is_empty() || highs.len() > MAX_HIGHS {
        return None;
    }
    let mut tries = 0;
    for (position, &leaf) in leaves.iter().enumerate() {
        let Some((a, b)) = product(dfg, leaf) else {
            continue;
        };
        for low in highs.iter().flat_map(|(_, _, sum)| sum) {
            let &Term::HighOfProduct((c, d)) = low else {
                continue;
            };
            for (c, d) in [(c, d), (d, c)] {
                let (Some(x), Some(y)) = (Number::new(a, c), Number::new(b, d)) else {
                    continue;
                };
                let factors = Factors { x, y };
                if tries == MAX_TRIES {
                    return None;
                }
                tries += 1;
                if let Some(used) = adds_up(dfg, factors, &highs) {
                    let is_other = |p: &usize| *p != position && !used.contains(p);
                    let rest = (0..leaves.len()).filter(is_other);
                    return Some((factors, rest.map(|p| leaves[p]).collect()));
                }
            }
        }
    }
    None
}

/// Which of these high halves together are `floor(T / 2^32)`.
fn adds_up(
    dfg: &DataFlowGraph,
    factors: Factors,
    highs: &[(usize, Value, Sum)],
) -> Option<SmallVec<[usize; 4]>> {
    let Parts { ll, lh, hl } = factors.parts();
    let concerns = |term: &Term| match *term {
        Term::Product(p) | Term::LowOfProduct(p) => p == lh || p == hl,
        Term::HighOfProduct(p) => p == ll,
        Term::LowOf(_) | Term::HighOf(_) => false,
    };
    let mut used = SmallVec::new();
    let mut difference: SmallVec<[(Term, i32); 2 * MAX_TERMS]> = SmallVec::new();
    let mut add = |term: Term, times: i32| match difference.iter_mut().find(|(t, _)| *t == term) {
        Some((_, count)) => *count += times,
        None => difference.push((term, times)),
    };
    let mut remainders: SmallVec<[Term; 4]> = SmallVec::new();
    for (position, whole, sum) in highs {
        if !sum.iter().any(concerns) {
            continue;
        }
        used.push(*position);
        for &term in sum {
            add(term, 1);
        }
        let low = low_of(dfg, *whole);
        add(low, -1);
        remainders.push(low);
    }
    for term in [
        Term::Product(lh),
        Term::Product(hl),
        Term::HighOfProduct(ll),
    ] {
        add(term, -1);
    }
    let mut left = difference.iter().filter(|(_, count)| *count != 0);
    match (left.next(), left.next()) {
        (Some((term, -1)), None) if remainders.contains(term) => Some(used),
        _ => None,
    }
}

/// Which of the products whose high half is needed in this block is computed here modulo 2^64.
fn whole_product(
    dfg: &DataFlowGraph,
    block: Block,
    inst: Inst,
    products: &Products,
) -> Option<Factors> {
    let args = look::binary(dfg, Opcode::Imul, dfg.first_result(inst))?;
    let [a, b] = args.map(|arg| match look::constant(dfg, arg) {
        Some(constant) => Number::Constant(constant),
        None => Number::Value(arg),
    });
    let orders = [Factors { x: a, y: b }, Factors { x: b, y: a }];
    let mut orders = orders.into_iter();
    orders.find(|&factors| products.by_block.contains(&(block, factors)))
}

/// Which of these products has its low half in this value, made of pieces.
fn low_half(dfg: &DataFlowGraph, inst: Inst, products: &Products) -> Option<Factors> {
    let InstructionData::Binary { opcode, args } = dfg.insts[inst] else {
        return None;
    };
    if opcode == Opcode::Imul {
        return None;
    }
    let [left, right] = args.map(|arg| dfg.resolve_aliases(arg));
    let shifted = |value| {
        let [low, by] = look::binary(dfg, Opcode::Ishl, value)?;
        (look::constant(dfg, by)? & 63 == 32).then_some(low)
    };
    let (middle, low) = match (shifted(left), shifted(right)) {
        (Some(middle), None) => (middle, right),
        (None, Some(middle)) => (middle, left),
        _ => return None,
    };
    // `bor` adds if the bits are others: below the shifted ones.
    let (ll, whole) = match look::low_half_of(dfg, low) {
        Some(whole) => (product(dfg, whole)?, false),
        None if opcode == Opcode::Iadd => (product(dfg, low)?, true),
        None => return None,
    };
    let factors = *products.by_lowest.get(&ll)?;
    let parts = factors.parts();
    let mut missing: Sum = smallvec![Term::Product(parts.lh), Term::Product(parts.hl)];
    if !whole {
        missing.push(Term::HighOfProduct(ll));
    }
    for term in sum_of_low_halves(dfg, middle)? {
        let place = missing.iter().position(|&m| m == term)?;
        missing.swap_remove(place);
    }
    missing.is_empty().then_some(factors)
}

/// Is the product of signed numbers meant? Then without what makes it so of that of unsigned ones: `(x >> 63) y + (y >> 63) x`, where
/// the signs are all ones for a negative number.
fn without_sign_correction(
    dfg: &DataFlowGraph,
    factors: Factors,
    rest: SmallVec<[Value; MAX_LEAVES]>,
) -> (bool, SmallVec<[Value; MAX_LEAVES]>) {
    let (Number::Value(x), Number::Value(y)) = (factors.x, factors.y) else {
        return (false, rest);
    };
    let is_sign_of = |sign, of| {
        look::binary(dfg, Opcode::Sshr, sign).is_some_and(|[whole, by]| {
            whole == of && look::constant(dfg, by).is_some_and(|by| by & 63 == 63)
        })
    };
    // The position of `(sign of number) * other`.
    let correction = |number, other, but: Option<usize>| {
        rest.iter().enumerate().position(|(position, &leaf)| {
            let factors = look::binary(dfg, Opcode::Imul, leaf);
            Some(position) != but
                && factors.is_some_and(|[a, b]| {
                    (a == other && is_sign_of(b, number)) || (b == other && is_sign_of(a, number))
                })
        })
    };
    let first = correction(x, y, None);
    let Some((first, second)) = first.and_then(|first| {
        let second = correction(y, x, Some(first))?;
        Some((first, second))
    }) else {
        return (false, rest);
    };
    let others = (0..rest.len()).filter(|p| *p != first && *p != second);
    (true, others.map(|p| rest[p]).collect())
}
