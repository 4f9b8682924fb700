#[runtime::test]
#[runtime::test]
async fn an_answer_arrives() {}

fn main() {}
