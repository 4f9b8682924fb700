#[runtime::test(start = 7)]
async fn an_answer_arrives() {}

fn main() {}
