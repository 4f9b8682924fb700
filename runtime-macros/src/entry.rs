//! The expansion: from an attribute and its `async fn` to a plain `fn` that runs a runtime.
//!
//! Called by the two macros of `lib`; calls `function` and `options` to read what the user wrote.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{Item, Path};

use crate::function::Function;
use crate::options::Options;

/// Which of the two attributes is being expanded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    Main,
    Test,
}

impl Entry {
    /// Turns the tokens of an attribute and of the item below it into those that take their place.
    pub(crate) fn expand(self, options: TokenStream, item: TokenStream) -> TokenStream {
        let function = match Function::parse(self, item.clone()) {
            Ok(function) => function,
            Err(error) => return self.not_a_function(&item, &error),
        };
        let checked = function.check(self);
        match checked.and_then(|()| syn::parse2(options)) {
            Ok(options) => self.accepted(function, &options),
            Err(error) => refused(function, &error),
        }
    }

    /// Returns the attribute as a user writes it, for messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Main => "#[runtime::main]",
            Self::Test => "#[runtime::test]",
        }
    }

    /// Emits the function as one that builds a runtime and blocks on the body.
    ///
    /// What is not the user's carries the span of the expansion: lints of the user's crate leave it
    /// alone, and the body cannot see its local variables.
    fn accepted(self, function: Function, options: &Options) -> TokenStream {
        let span = Span::mixed_site();
        let setters = &options.setters;
        let builder = builder(options.crate_path.as_ref());
        let run_body = quote_spanned! {span=>
            let runtime = #builder::new()
                #(.#setters)*
                .build()
                .expect("failed to build the runtime");
            runtime.block_on(body)
        };
        let blocking = function.into_blocking(&run_body);
        match self {
            Self::Main => blocking,
            Self::Test => quote_spanned!(span=> #[::core::prelude::v1::test] #blocking),
        }
    }

    /// Emits the item as it was, the error, and for `#[runtime::main]` a `main`, which rustc would miss.
    ///
    /// That `main` comes from a glob import, so it gives way to another `main` of the module, and it is a
    /// function of `core`, so several of it are one. A constant, a type, a macro or a function without
    /// a body may stand in an `impl` or `trait`, where no import can.
    fn not_a_function(self, item: &TokenStream, error: &syn::Error) -> TokenStream {
        let error = error.to_compile_error();
        let parsed = syn::parse2(item.clone());
        let is_maybe_associated = matches!(
            parsed,
            Ok(Item::Const(_) | Item::Type(_) | Item::Macro(_) | Item::Fn(_) | Item::Verbatim(_))
                | Err(_)
        );
        if self == Self::Test || is_maybe_associated {
            return quote!(#item #error);
        }
        let place = proc_macro::Span::call_site();
        let module = format_ident!("__runtime_main_{}_{}", place.line(), place.column());
        quote_spanned! {Span::mixed_site()=>
            #item
            #error
            mod #module { pub use ::core::hint::spin_loop as main; }
            use #module::*;
        }
    }
}

/// Writes the path of the builder so that, if it is not there, rustc says so at the user's path.
fn builder(crate_path: Option<&Path>) -> TokenStream {
    let span = Span::mixed_site();
    let Some(path) = crate_path else {
        return quote_spanned!(span=> ::runtime::Builder);
    };
    let place = path
        .segments
        .last()
        .map_or(span, |segment| segment.ident.span());
    quote_spanned!(span.located_at(place)=> #path::Builder)
}

/// Emits the error beside a function that takes the refused one's place and would never return.
///
/// The body is still checked, so that an editor keeps helping with it and what it uses counts as used.
fn refused(mut function: Function, error: &syn::Error) -> TokenStream {
    let error = error.to_compile_error();
    function.remove_entry_attributes();
    if function.is_impossible_main() {
        let inside = function.into_async();
        return quote!(fn main() { #inside } #error);
    }
    let never_return = quote_spanned! {Span::mixed_site()=>
        fn output_of<F: ::core::future::Future>(_: F) -> F::Output { loop {} }
        output_of(body)
    };
    let function = function.into_blocking(&never_return);
    quote!(#function #error)
}
