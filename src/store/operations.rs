//! The macro that defines the trait of a store, so that the signature of each operation is written once.

/// Defines a trait, its implementations for pointers to a store, its object-safe form, and its implementation for
/// `DynStore`.
///
/// After the name of the trait come its supertraits, and the bound of its error unless a supertrait has the error. An
/// operation is written as `fn name(&self, a: &Reference, b: Value) -> Output`. The method returns a future of
/// `Result<Output, Self::Error>` that is `Send`. The object-safe form boxes this future and the error.
macro_rules! operations {
    (
        $(#[$meta:meta])*
        pub trait $trait:ident: [$($supertraits:tt)*] [$($error:path)?] dyn $erased:ident { $($body:tt)* }
    ) => {
        operations!(@trait [$(#[$meta])* pub trait $trait: $($supertraits)*] [$($error)?] $($body)*);
        operations!(@pointer [impl<S: $trait + ?Sized> $trait for &'static S] [$($error)?] $($body)*);
        operations!(@pointer [impl<S: $trait + ?Sized> $trait for Box<S>] [$($error)?] $($body)*);
        operations!(@pointer [impl<S: $trait + ?Sized> $trait for Arc<S>] [$($error)?] $($body)*);
        operations!(@erased $trait $erased [$($error)?] $($body)*);
    };

    (
        @trait [$($header:tt)*] [$($error:path)?]
        $($(#[$meta:meta])* fn $name:ident(&self $(, $arg:ident: $(&$by_ref:ident)? $($by_value:ident)?)*)
            -> $output:ty;)*
    ) => {
        $($header)* {
            $(
                /// The error of every operation.
                type Error: $error;
            )?

            $(
                $(#[$meta])*
                fn $name(
                    &self $(, $arg: $(&$by_ref)? $($by_value)?)*
                ) -> impl Future<Output = Result<$output, Self::Error>> + Send;
            )*
        }
    };

    (
        @pointer [$($header:tt)*] [$($error:path)?]
        $($(#[$meta:meta])* fn $name:ident(&self $(, $arg:ident: $(&$by_ref:ident)? $($by_value:ident)?)*)
            -> $output:ty;)*
    ) => {
        $($header)* {
            $(type Error = operations!(@first (S::Error) $error);)?

            $(
                fn $name(
                    &self $(, $arg: $(&$by_ref)? $($by_value)?)*
                ) -> impl Future<Output = Result<$output, S::Error>> + Send {
                    S::$name(self $(, $arg)*)
                }
            )*
        }
    };

    (
        @erased $trait:ident $erased:ident [$($error:path)?]
        $($(#[$meta:meta])* fn $name:ident(&self $(, $arg:ident: $(&$by_ref:ident)? $($by_value:ident)?)*)
            -> $output:ty;)*
    ) => {
        trait $erased: Send + Sync {
            $(
                fn $name<'a>(
                    &'a self $(, $arg: $(&'a $by_ref)? $($by_value)?)*
                ) -> BoxFuture<'a, Result<$output, BoxError>>;
            )*
        }

        impl<S: $trait> $erased for S {
            $(
                fn $name<'a>(
                    &'a self $(, $arg: $(&'a $by_ref)? $($by_value)?)*
                ) -> BoxFuture<'a, Result<$output, BoxError>> {
                    Box::pin(async move { $trait::$name(self $(, $arg)*).await.map_err(Into::into) })
                }
            )*
        }

        impl $trait for DynStore {
            $(type Error = operations!(@first (BoxError) $error);)?

            $(
                async fn $name(&self $(, $arg: $(&$by_ref)? $($by_value)?)*) -> Result<$output, BoxError> {
                    $erased::$name(&*self.0 $(, $arg)*).await
                }
            )*
        }
    };

    (@first ($($first:tt)*) $second:path) => { $($first)* };
}

pub(super) use operations;
