//! Programs written for one thing each.

use super::host::{compare, engine, migratable, plain};

/// A module with the imports and exports of all programs.
fn module(body: &str) -> String {
    format!(
        "(module
           (import \"env\" \"point\" (func $point (param i32 i64) (result i32)))
           (import \"env\" \"note\" (func $note (param i32)))
           (memory (export \"memory\") 1)
           (global $g (export \"g\") (mut i32) (i32.const 5))
           {body})"
    )
}

fn check(body: &str, moves: u32) {
    let text = module(body);
    assert_eq!(compare(&engine(), &text), moves, "{text}");
}

#[test]
fn operands_that_wait_come_back() {
    check(
        "(func (export \"run\") (result i64)
           (i64.add
             (i64.mul (i64.const 7) (i64.extend_i32_s (call $point (i32.const 1) (i64.const 2))))
             (i64.sub
               (i64.extend_i32_s (call $point (i32.const 3) (i64.const 4)))
               (i64.extend_i32_s (call $point (i32.const 5) (i64.const 6))))))",
        3,
    );
}

#[test]
fn loops_go_on_where_they_were() {
    check(
        "(func (export \"run\") (result i64)
           (local $i i32) (local $j i32) (local $sum i64) (local $x f64) (local $y f32)
           (local.set $x (f64.const 1.5))
           (local.set $y (f32.const 0.25))
           (loop $outer
             (local.set $j (i32.const 0))
             (call $note (local.get $i))
             (loop $inner
               (local.set $sum (i64.add (local.get $sum)
                 (i64.extend_i32_s (call $point (local.get $i) (i64.extend_i32_s (local.get $j))))))
               (local.set $x (f64.mul (local.get $x) (f64.const 1.25)))
               (local.set $y (f32.sub (local.get $y) (f32.const 3)))
               (br_if $inner (i32.lt_s (local.tee $j (i32.add (local.get $j) (i32.const 1))) (i32.const 3))))
             (i32.store (i32.mul (local.get $i) (i32.const 4)) (i32.wrap_i64 (local.get $sum)))
             (br_if $outer (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4))))
           (i64.add (local.get $sum)
             (i64.add (i64.trunc_f64_s (local.get $x)) (i64.trunc_f32_s (local.get $y)))))",
        12,
    );
}

#[test]
fn branches_of_an_if_are_found_again() {
    check(
        "(func $f (param $c i32) (result i32)
           (i32.add (i32.const 100)
             (if (result i32) (local.get $c)
               (then (call $note (i32.const 1)) (call $point (i32.const 1) (i64.const 1)))
               (else (call $note (i32.const 2))
                 (i32.mul (call $point (i32.const 2) (i64.const 2)) (call $point (i32.const 3) (i64.const 3)))))))
         (func (export \"run\") (result i64)
           (i64.extend_i32_s (i32.sub (call $f (i32.const 1)) (call $f (i32.const 0)))))",
        3,
    );
}

#[test]
fn indirect_calls_reach_the_same_function_again() {
    check(
        "(type $t (func (param i32) (result i32)))
         (table 2 funcref) (elem (i32.const 0) $a $b)
         (func $a (type $t) (i32.add (local.get 0) (call $point (local.get 0) (i64.const 0))))
         (func $b (type $t) (i32.sub (call $point (local.get 0) (i64.const 9)) (local.get 0)))
         (func (export \"run\") (result i64) (local $i i32) (local $sum i32)
           (loop $l
             (local.set $sum (i32.add (local.get $sum)
               (call_indirect (type $t) (local.get $i) (i32.and (local.get $i) (i32.const 1)))))
             (br_if $l (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 6))))
           (i64.extend_i32_s (local.get $sum)))",
        6,
    );
}

#[test]
fn tail_calls_keep_their_frame() {
    check(
        "(func $down (param $n i32) (param $sum i64) (result i64)
           (if (i32.eqz (local.get $n)) (then (return (local.get $sum))))
           (return_call $down (i32.sub (local.get $n) (i32.const 1))
             (i64.add (local.get $sum) (i64.extend_i32_s (call $point (local.get $n) (local.get $sum))))))
         (func (export \"run\") (result i64) (call $down (i32.const 5) (i64.const 1)))",
        5,
    );
}

#[test]
fn blocks_with_parameters_get_theirs() {
    check(
        "(func (export \"run\") (result i64) (local $n i32)
           (i32.const 11) (i32.const 22)
           (loop $l (param i32 i32) (result i32)
             (call $note)
             (i64.const 4) (call $point)
             (local.tee $n) (local.get $n)
             (call $point (i32.const 1) (i64.const 1))
             (i32.and (i32.const 15))
             (br_if $l (i32.gt_s (i32.const 7)))
             (i32.add))
           (i64.extend_i32_s))",
        2,
    );
}

#[test]
fn exceptions_pass_frames_that_were_moved() {
    check(
        "(tag $e (param i32))
         (func $thrower (param $n i32)
           (drop (call $point (local.get $n) (i64.const 1)))
           (if (i32.and (local.get $n) (i32.const 1)) (then (throw $e (call $point (i32.const 50) (i64.const 2))))))
         (func (export \"run\") (result i64) (local $i i32) (local $sum i32) (local $kept i32)
           (loop $l
             (local.set $kept (i32.mul (local.get $i) (i32.const 1000)))
             (local.set $sum (i32.add (local.get $sum)
               (block $caught (result i32)
                 (try_table (catch $e $caught) (call $thrower (local.get $i)))
                 (i32.const 1))))
             (local.set $sum (i32.add (local.get $sum) (local.get $kept)))
             (br_if $l (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 5))))
           (i64.extend_i32_s (local.get $sum)))",
        7,
    );
}

#[test]
fn calls_while_an_exception_is_held_are_left_alone() {
    let text = module(
        "(tag $e)
         (func $cleanup (drop (call $point (i32.const 1) (i64.const 1))))
         (func $inner (local $x exnref)
           (block $all (result exnref)
             (try_table (catch_all_ref $all) (throw $e))
             (return))
           (local.set $x)
           (call $cleanup)
           (throw_ref (local.get $x)))
         (func (export \"run\") (result i64)
           (block $caught (try_table (catch $e $caught) (call $inner)))
           (i64.extend_i32_s (call $point (i32.const 2) (i64.const 2))))",
    );
    let module = migratable(&text);
    assert_eq!((module.report.sites, module.report.held_sites), (3, 1));
    // Only the point outside of the clean-up code moves.
    assert_eq!(compare(&engine(), &text), 1);
}

#[test]
fn only_what_is_read_later_is_saved() {
    let text = module(
        "(func $leaf (param $a i32) (param $b i32) (result i32)
           (call $note (local.get $b))
           (drop (call $point (local.get $a) (i64.const 0)))
           (local.get $a))
         (func $far (param i32) (result i32) (i32.popcnt (local.get 0)))
         (func (export \"run\") (result i64)
           (i64.extend_i32_s (call $far (call $leaf (i32.const 3) (i32.const 4)))))",
    );
    let report = migratable(&text).report;
    assert_eq!((report.functions, report.instrumented, report.sites), (3, 2, 2));
    assert_eq!(compare(&engine(), &text), 1);
}

/// A virtual function that comes to a switch point has the type of one that compares types of objects.
#[test]
fn type_information_calls_only_its_own() {
    let of = |caller: &str, virtual_function: &str| {
        let text = module(&format!(
            "(type $virtual (func (param i32) (result i32)))
             (table 2 funcref)
             (elem (i32.const 0) $user ${virtual_function})
             (func $user (param i32) (result i32)
               (call $point (local.get 0) (i64.const 0)))
             (func ${virtual_function} (param i32) (result i32) (local.get 0))
             (func ${caller} (result i32)
               (call_indirect (type $virtual) (i32.const 7) (i32.const 1)))
             (func (export \"run\") (result i64)
               (drop (call ${caller}))
               (i64.extend_i32_s
                 (call_indirect (type $virtual) (i32.const 7) (i32.const 0))))"
        ));
        assert_eq!(compare(&engine(), &text), 1);
        let report = migratable(&text).report;
        (report.functions, report.instrumented, report.sites)
    };
    assert_eq!(of("caller", "other"), (4, 3, 4), "any call may reach what has its type");
    let can_catch = "_ZNK10__cxxabiv117__class_type_info9can_catchEPKNS_16__shim_type_infoERPv";
    assert_eq!(of("__dynamic_cast", can_catch), (4, 2, 2));
}

/// A handler of the program may come to a switch point, but not back.
#[test]
fn who_ends_the_program_needs_no_code_for_it() {
    let of = |ending: &str| {
        let text = module(&format!(
            "(func ${ending} (drop (call $point (i32.const 1) (i64.const 0))))
             (func $caller (param i32) (if (local.get 0) (then (call ${ending}) unreachable)))
             (func (export \"run\") (result i64)
               (call $caller (i32.const 0))
               (i64.extend_i32_s (call $point (i32.const 2) (i64.const 0))))"
        ));
        assert_eq!(compare(&engine(), &text), 1);
        let report = migratable(&text).report;
        (report.functions, report.instrumented, report.sites, report.held_sites)
    };
    assert_eq!(of("other"), (3, 3, 4, 0));
    assert_eq!(of("_ZSt9terminatev"), (3, 2, 1, 1));
}

#[test]
fn a_module_without_switch_points_keeps_its_functions() {
    let text = "(module (memory (export \"memory\") 1)
                  (func (export \"run\") (result i64) (i64.const 3)))";
    let module = migratable(text);
    assert_eq!(module.report.instrumented, 0);
    assert_eq!(plain(&engine(), text).result, Ok(3));
}
