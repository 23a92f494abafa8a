use msn_kernels::{Isa, IsaError, selected_isa, with_isa};

#[test]
fn an_unknown_instruction_set_is_named_in_the_error() {
    let error = "avx1024".parse::<Isa>().expect_err("no such instruction set");
    assert_eq!(error, IsaError::UnknownName { found: "avx1024".to_owned() });
    assert!(error.to_string().contains("avx1024") && error.to_string().contains("avx512bf16"), "{error}");
}

#[test]
fn names_select_what_they_name() {
    for isa in Isa::ALL {
        assert_eq!(isa.name().parse(), Ok(isa));
    }
}

#[test]
fn a_forced_instruction_set_holds_inside_and_is_undone_after() {
    let before = selected_isa();
    for isa in Isa::ALL {
        match with_isa(isa, selected_isa) {
            Ok(inside) => assert_eq!(inside, Ok(isa)),
            Err(error) => {
                assert!(!isa.is_supported());
                assert!(error.to_string().contains(isa.name()), "{error}");
            }
        }
        assert_eq!(selected_isa(), before);
    }
}
