#[runtime::test]
async fn an_answer_arrives(answer: u32) {
    assert_eq!(answer, 42);
}

fn main() {}
