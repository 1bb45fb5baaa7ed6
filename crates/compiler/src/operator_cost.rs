//! What operators cost in fuel: a number for each, and numbers for each byte or element of those that do as much as they are told to.

use cowling_abi::operator_costs::OperatorCosts;
use wasmparser::Operator;

/// Defines a struct of costs from their names.
macro_rules! costs {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $field:ident,)* } $(and $more:ident: $more_ty:ty)?) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $name {
            $($(#[$doc])* pub $field: u8,)*
            $(
                /// What comes on top of that for each byte or element, where an operand says how many there are.
                pub $more: $more_ty,
            )?
        }

        impl $name {
            /// The default.
            pub fn new() -> Self {
                Self::default()
            }

            /// Notes what differs from the default.
            fn differences(&self, costs: &mut OperatorCosts) {
                let default = Self::default();
                $(if self.$field != default.$field {
                    costs.set(stringify!($field), self.$field);
                })*
                $(self.$more.differences(costs);)?
            }

            /// Sets a cost by name. False if there is none of this name.
            fn set(&mut self, name: &str, cost: u8) -> bool {
                match name {
                    $(stringify!($field) => self.$field = cost,)*
                    _ => return costs!(@other self name cost $($more)?),
                }
                true
            }
        }
    };
    (@other $self:ident $name:ident $cost:ident) => { false };
    (@other $self:ident $name:ident $cost:ident $more:ident) => { $self.$more.set($name, $cost) };
}

costs! {
    /// What operators cost in fuel for each byte or element of their work, besides what they [cost each time](OperatorCost). Nothing by
    /// default. It is taken, and checked, before the work is done.
    #[derive(Default)]
    VariableOperatorCost {
        /// For each byte that `memory.copy` copies.
        memory_copy_per_byte,
        /// For each byte that `memory.fill` writes.
        memory_fill_per_byte,
        /// For each byte that `memory.init` copies.
        memory_init_per_byte,
        /// For each page that `memory.grow` asks for.
        memory_grow_per_page,
        /// For each element that `table.copy` copies.
        table_copy_per_element,
        /// For each element that `table.fill` writes.
        table_fill_per_element,
        /// For each element that `table.init` copies.
        table_init_per_element,
        /// For each element that `table.grow` asks for.
        table_grow_per_element,
        /// For each element that `array.copy` copies.
        array_copy_per_element,
        /// For each element that `array.fill` writes.
        array_fill_per_element,
        /// For each element of an array that `array.new_data` makes.
        array_new_data_per_element,
        /// For each element that `array.init_data` copies.
        array_init_data_per_element,
        /// For each element of an array that `array.new_elem` makes.
        array_new_elem_per_element,
        /// For each element that `array.init_elem` copies.
        array_init_elem_per_element,
        /// For each element of an array that `array.new_default` makes.
        array_new_default_per_element,
        /// For each element of an array that `array.new` makes.
        array_new_per_element,
    }
}

macro_rules! operators {
    ($(@$proposal:ident $op:ident $({ $($payload:tt)* })? => $visit:ident ($($ann:tt)*))*) => {
        costs! {
            /// What each operator costs in fuel when it is executed: a setting, `Config::operator_cost`.
            OperatorCost {
                $(#[doc = concat!("What `", stringify!($op), "` costs.")] $op,)*
            }
            and variable: VariableOperatorCost
        }

        impl OperatorCost {
            /// The same for all operators, and nothing for what they work on.
            fn uniform(cost: u8) -> OperatorCost {
                OperatorCost {
                    $($op: cost,)*
                    variable: VariableOperatorCost::default(),
                }
            }

            /// What an operator costs each time.
            pub(crate) fn of(&self, operator: &Operator<'_>) -> u8 {
                match operator {
                    $(Operator::$op { .. } => self.$op,)*
                    // There is none: the list above has all of them.
                    _ => 0,
                }
            }
        }
    };
}

wasmparser::for_each_operator!(operators);

impl Default for OperatorCost {
    fn default() -> Self {
        OperatorCost {
            // They are no instructions of the machine, or end what runs.
            Nop: 0,
            Drop: 0,
            Block: 0,
            Loop: 0,
            TryTable: 0,
            Else: 0,
            End: 0,
            Return: 0,
            Unreachable: 0,
            // They are several.
            CallIndirect: 2,
            ReturnCallIndirect: 2,
            BrTable: 2,
            ..OperatorCost::uniform(1)
        }
    }
}

impl OperatorCost {
    /// What an operator costs for each byte or element of its topmost operand.
    pub(crate) fn per_unit(&self, operator: &Operator<'_>) -> u8 {
        use Operator as O;
        let variable = &self.variable;
        match operator {
            O::MemoryCopy { .. } => variable.memory_copy_per_byte,
            O::MemoryFill { .. } => variable.memory_fill_per_byte,
            O::MemoryInit { .. } => variable.memory_init_per_byte,
            O::MemoryGrow { .. } => variable.memory_grow_per_page,
            O::TableCopy { .. } => variable.table_copy_per_element,
            O::TableFill { .. } => variable.table_fill_per_element,
            O::TableInit { .. } => variable.table_init_per_element,
            O::TableGrow { .. } => variable.table_grow_per_element,
            O::ArrayCopy { .. } => variable.array_copy_per_element,
            O::ArrayFill { .. } => variable.array_fill_per_element,
            O::ArrayNewData { .. } => variable.array_new_data_per_element,
            O::ArrayInitData { .. } => variable.array_init_data_per_element,
            O::ArrayNewElem { .. } => variable.array_new_elem_per_element,
            O::ArrayInitElem { .. } => variable.array_init_elem_per_element,
            O::ArrayNewDefault { .. } => variable.array_new_default_per_element,
            O::ArrayNew { .. } => variable.array_new_per_element,
            _ => 0,
        }
    }
}

impl From<OperatorCost> for OperatorCosts {
    fn from(costs: OperatorCost) -> Self {
        let mut differences = OperatorCosts::default();
        costs.differences(&mut differences);
        differences
    }
}

/// A cost was given to something that is no operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no operator `{0}`")]
pub struct UnknownOperator(pub String);

impl TryFrom<&OperatorCosts> for OperatorCost {
    type Error = UnknownOperator;

    fn try_from(differences: &OperatorCosts) -> Result<Self, UnknownOperator> {
        let mut costs = OperatorCost::default();
        for (name, cost) in differences.iter() {
            if !costs.set(name, cost) {
                return Err(UnknownOperator(name.to_string()));
            }
        }
        Ok(costs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_the_same_as_text_and_as_numbers() {
        assert_eq!(
            OperatorCosts::from(OperatorCost::default()),
            OperatorCosts::default()
        );
        let costs = OperatorCost {
            Call: 7,
            Nop: 1,
            I32Add: 1,
            variable: VariableOperatorCost {
                memory_fill_per_byte: 2,
                ..Default::default()
            },
            ..Default::default()
        };
        let text = OperatorCosts::from(costs.clone());
        assert_eq!(text.to_string(), "Call=7,Nop=1,memory_fill_per_byte=2");
        assert_eq!(OperatorCost::try_from(&text), Ok(costs));
        let wrong = "Cal=7".parse().unwrap();
        let error = OperatorCost::try_from(&wrong).unwrap_err();
        assert_eq!(error, UnknownOperator("Cal".into()));
    }

    #[test]
    fn every_operator_has_a_cost_of_its_own() {
        let costs = OperatorCost {
            I32Const: 3,
            Select: 4,
            ..OperatorCost::uniform(9)
        };
        assert_eq!(costs.of(&Operator::I32Const { value: 1 }), 3);
        assert_eq!(costs.of(&Operator::I64Const { value: 1 }), 9);
        assert_eq!(costs.of(&Operator::Select), 4);
    }
}
