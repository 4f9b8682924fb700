//! The options between an attribute's parentheses: `budget = 64, crate = renamed`.
//!
//! Called by `entry`; calls no other file.

use std::str::FromStr;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::{Error, LitInt, LitStr, Path, Token};

/// Every option, written as messages show it.
const EXAMPLES: [&str; 5] = [
    "budget = 64",
    "crate = renamed",
    "event_interval = 31",
    "max_events = 512",
    "thread_name = \"worker\"",
];

/// What the user asked of the runtime that will be built.
pub(crate) struct Options {
    /// Where the runtime crate is, if not at `::runtime`.
    pub(crate) crate_path: Option<Path>,
    /// Calls of the builder's methods, each without the dot before it.
    pub(crate) setters: Vec<TokenStream>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut options = Self {
            crate_path: None,
            setters: Vec::new(),
        };
        let mut seen = Vec::new();
        while !input.is_empty() {
            let setting: Setting = input.parse()?;
            if seen.contains(&setting.name) {
                let message = format!("`{}` is given twice", setting.name);
                return Err(Error::new(setting.name.span(), message));
            }
            options.apply(&setting)?;
            seen.push(setting.name);
            input.parse::<Option<Token![,]>>()?;
        }
        Ok(options)
    }
}

impl Options {
    fn apply(&mut self, setting: &Setting) -> syn::Result<()> {
        let argument = match setting.name.to_string().as_str() {
            "crate" => {
                self.crate_path = Some(setting.path()?);
                return Ok(());
            }
            "thread_name" => setting.string()?,
            "max_events" => setting.positive::<usize>("usize")?,
            _ => setting.positive::<u32>("u32")?,
        };
        let method = Ident::new(&setting.name.to_string(), Span::mixed_site());
        self.setters
            .push(quote_spanned!(Span::mixed_site()=> #method(#argument)));
        Ok(())
    }
}

/// One option and what follows its `=`, which is at least one token.
struct Setting {
    name: Ident,
    value: TokenStream,
    example: &'static str,
}

impl Parse for Setting {
    /// Reads up to the next comma.
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let Ok(name) = input.call(Ident::parse_any) else {
            return Err(input.error(format!("expected an option: {}", known_names())));
        };
        let Some(example) = EXAMPLES
            .into_iter()
            .find(|example| name == name_in(example))
        else {
            let message = format!("unknown option `{name}`, expected {}", known_names());
            return Err(Error::new(name.span(), message));
        };
        let mut value = TokenStream::new();
        if input.parse::<Option<Token![=]>>()?.is_some() {
            while !input.is_empty() && !input.peek(Token![,]) {
                value.extend([input.parse::<TokenTree>()?]);
            }
        }
        if value.is_empty() {
            let message = format!("`{name}` needs a value, as in `{example}`");
            return Err(Error::new(name.span(), message));
        }
        Ok(Self {
            name,
            value,
            example,
        })
    }
}

impl Setting {
    /// Reads a whole number that is not 0, with no suffix or the one of its type.
    fn positive<N: FromStr + Default + PartialEq>(
        &self,
        type_name: &str,
    ) -> syn::Result<TokenStream> {
        let literal = syn::parse2::<LitInt>(self.value.clone()).ok();
        let literal = literal.filter(|literal| ["", type_name].contains(&literal.suffix()));
        match literal.and_then(|literal| literal.base10_digits().parse::<N>().ok()) {
            None => Err(self.takes(&format!("a `{type_name}` literal"))),
            Some(number) if number == N::default() => {
                let message = format!("`{}` must be at least 1", self.name);
                Err(Error::new_spanned(&self.value, message))
            }
            Some(_) => Ok(self.value.clone()),
        }
    }

    fn string(&self) -> syn::Result<TokenStream> {
        match syn::parse2::<LitStr>(self.value.clone()) {
            Ok(literal) => Ok(quote!(#literal)),
            Err(_) => Err(self.takes("a string literal")),
        }
    }

    /// Reads a path, in quotes or bare.
    fn path(&self) -> syn::Result<Path> {
        let path = match syn::parse2::<LitStr>(self.value.clone()) {
            Ok(quoted) => quoted.parse_with(Path::parse_mod_style),
            Err(_) => Path::parse_mod_style.parse2(self.value.clone()),
        };
        path.map_err(|_| self.takes("the path of the runtime crate"))
    }

    /// Returns the error for a value of the wrong kind.
    fn takes(&self, what: &str) -> Error {
        let message = format!("`{}` takes {what}, as in `{}`", self.name, self.example);
        Error::new_spanned(&self.value, message)
    }
}

/// Lists the options for a message.
fn known_names() -> String {
    let names = EXAMPLES.map(|example| format!("`{}`", name_in(example)));
    format!("one of {}", names.join(", "))
}

fn name_in(example: &str) -> &str {
    example.split(' ').next().unwrap_or(example)
}
