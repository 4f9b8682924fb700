//! The function below an attribute: read, checked, and written out again.
//!
//! Called by `entry`; calls no other file.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::{ParseStream, Parser};
use syn::token::Brace;
use syn::{AttrStyle, Attribute, Error, ReturnType, Safety, Signature, Visibility, braced};

use crate::entry::Entry;

/// A function whose body stays unread: its syntax is rustc's business.
pub(crate) struct Function {
    /// Those below the macro's own, and those inside the body, which hold for all of it either way.
    attributes: Vec<Attribute>,
    visibility: Visibility,
    signature: Signature,
    /// The body's braces, at which rustc reports that the body ends without a value.
    brace: Brace,
    statements: TokenStream,
}

impl Function {
    /// Reads an item that should be a function.
    ///
    /// # Errors
    ///
    /// The item is something else, or a function without a body.
    pub(crate) fn parse(entry: Entry, item: TokenStream) -> syn::Result<Self> {
        let read = |input: ParseStream<'_>| Self::read(entry, input);
        read.parse2(item)
    }

    fn read(entry: Entry, input: ParseStream<'_>) -> syn::Result<Self> {
        let name = entry.name();
        let mut attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let start = input.span();
        let Ok(signature) = input.parse::<Signature>() else {
            return Err(Error::new(start, format!("`{name}` goes on an `async fn`")));
        };
        if !input.peek(Brace) {
            let message = format!("`{name}` needs a function with a body");
            return Err(Error::new_spanned(signature, message));
        }
        let body;
        let brace = braced!(body in input);
        for mut attribute in body.call(Attribute::parse_inner)? {
            attribute.style = AttrStyle::Outer;
            attributes.push(attribute);
        }
        let statements = body.parse()?;
        Ok(Self {
            attributes,
            visibility,
            signature,
            brace,
            statements,
        })
    }

    /// Removes all attributes like `#[test]` and `#[runtime::main]`.
    pub(crate) fn remove_entry_attributes(&mut self) {
        self.attributes
            .retain(|attribute| last_name(attribute).is_none());
    }

    /// Checks that the function is async and can be called with nothing, and that no other attribute calls it.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, at its place.
    pub(crate) fn check(&self, entry: Entry) -> syn::Result<()> {
        let signature = &self.signature;
        let needs = |what: &str, instead_of: &dyn ToTokens| {
            let message = format!("`{}` needs {what}", entry.name());
            Err(Error::new_spanned(instead_of.to_token_stream(), message))
        };
        if signature.asyncness.is_none() {
            return needs(
                "an `async fn`: put `async` before `fn`",
                &signature.fn_token,
            );
        }
        if let Safety::Unsafe(token) = &signature.safety {
            return needs("a function that is not `unsafe`", token);
        }
        if let Some(abi) = &signature.abi {
            return needs("a function without `extern`", abi);
        }
        if !signature.generics.params.is_empty() {
            return needs("a function without generics", &signature.generics);
        }
        if !signature.inputs.is_empty() {
            return needs("a function without parameters", &signature.inputs);
        }
        self.attributes
            .iter()
            .try_for_each(|attribute| check_beside(entry, attribute))
    }

    /// Reports whether the function is a `main` that rustc would refuse, were it not async.
    pub(crate) fn is_impossible_main(&self) -> bool {
        let Signature {
            ident,
            safety,
            abi,
            generics,
            inputs,
            ..
        } = &self.signature;
        let is_method = self.signature.receiver().is_some();
        let has_parameters = !generics.params.is_empty() || !inputs.is_empty();
        let has_qualifiers = matches!(safety, Safety::Unsafe(_)) || abi.is_some();
        ident == "main" && !is_method && (has_parameters || has_qualifiers)
    }

    /// Writes the function as it was, but async in any case.
    pub(crate) fn into_async(mut self) -> TokenStream {
        self.signature.constness = None;
        self.signature.asyncness.get_or_insert_default();
        let body = self.in_braces(self.statements.clone());
        let Self {
            attributes,
            visibility,
            signature,
            ..
        } = self;
        quote!(#(#attributes)* #visibility #signature #body)
    }

    /// Writes the function as a plain one that ends with `run_body`, for which `body` is the body's future.
    pub(crate) fn into_blocking(mut self, run_body: &TokenStream) -> TokenStream {
        let stated_output = self.stated_output();
        let statements = &self.statements;
        let body = self.in_braces(quote!(#stated_output #statements));
        let async_token = self.signature.asyncness.take().unwrap_or_default();
        self.signature.constness = None;
        let Self {
            attributes,
            visibility,
            signature,
            ..
        } = self;
        quote_spanned! {Span::mixed_site()=>
            #(#attributes)*
            #visibility #signature {
                let body = #async_token #body;
                #run_body
            }
        }
    }

    /// Writes a statement that never runs, but tells the compiler what the async block around it returns.
    ///
    /// Without it the block's type would be guessed from the body: `?` would not know its target, and
    /// a value of another type would be reported at the attribute. `impl Trait` and `!`, which cannot
    /// be named in an expression, are left to inference. The returned value stands at the user's
    /// return type, because that is where rustc points when it says what was expected.
    fn stated_output(&self) -> Option<TokenStream> {
        let (output, start, end) = match &self.signature.output {
            ReturnType::Type(_, ty) => {
                let output = ty.to_token_stream();
                let mut spans = output.clone().into_iter().map(|token| token.span());
                let start = spans.next()?;
                (output, start, spans.last().unwrap_or(start))
            }
            ReturnType::Default => {
                let name = self.signature.ident.span();
                (quote_spanned!(name=> ()), name, name)
            }
        };
        if !can_be_named(output.clone()) {
            return None;
        }
        let value = quote_spanned!(start=> value::<#output>);
        let arguments = quote_spanned!(end=> ());
        Some(quote_spanned! {Span::mixed_site()=>
            if false {
                fn value<T>() -> T { loop {} }
                return #value #arguments;
            }
        })
    }

    fn in_braces(&self, inside: TokenStream) -> TokenStream {
        let mut braced = TokenStream::new();
        self.brace.surround(&mut braced, |tokens| *tokens = inside);
        braced
    }
}

/// Refuses an attribute that would call the function a second time.
fn check_beside(entry: Entry, attribute: &Attribute) -> syn::Result<()> {
    let name = entry.name();
    let message = match (entry, last_name(attribute)) {
        (_, None) => return Ok(()),
        (Entry::Test, Some("test")) => {
            format!("second test attribute is supplied: `{name}` alone makes the function a test")
        }
        (Entry::Main, Some("main")) => {
            format!("second main attribute is supplied: `{name}` alone starts a runtime")
        }
        (_, Some(_)) => {
            format!("`{name}` cannot share a function with this attribute: keep one of them")
        }
    };
    Err(Error::new_spanned(attribute, message))
}

/// Returns what an attribute makes of its function, if it is one like `#[tokio::test]` or `#[runtime::main]`.
fn last_name(attribute: &Attribute) -> Option<&'static str> {
    let last = attribute.path().segments.last()?;
    ["main", "test"].into_iter().find(|name| last.ident == name)
}

/// Reports whether a type may stand in an expression, as one with `impl` or `!` in it may not.
fn can_be_named(ty: TokenStream) -> bool {
    ty.into_iter().all(|token| match token {
        TokenTree::Ident(ident) => ident != "impl",
        TokenTree::Punct(punct) => punct.as_char() != '!',
        TokenTree::Group(group) => can_be_named(group.stream()),
        TokenTree::Literal(_) => true,
    })
}
