#[runtime::test]
async fn an_answer_arrives<const N: usize>() {
    assert_eq!(N, 42);
}

fn main() {}
