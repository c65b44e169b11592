//! The arguments of a search for places. The older commands give middle and radius in fixed positions, GEOSEARCH by
//! words; the other options are the same.

use larder_protocol::Args;
use larder_storage::types::Env;
use larder_storage::types::zset::ZSetRef;

use super::super::parse::{integer, is};
use super::{point, unit};
use crate::error::{
    BOX_NEGATIVE, Error, GEO_ANY_WITHOUT_COUNT, GEO_COUNT_NOT_POSITIVE, GEORADIUS_STORE_OPTIONS,
    GEOSEARCHSTORE_OPTIONS, HEIGHT_NOT_A_FLOAT, NO_PLACE_OF_MEMBER, RADIUS_NEGATIVE, RADIUS_NOT_A_FLOAT, SYNTAX,
    WIDTH_NOT_A_FLOAT, geo_needs_center, geo_needs_outline,
};
use crate::geo_search::{Outline, Shape};
use crate::geohash::Point;
use crate::number::parse_f64;

/// Which of the commands it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// GEORADIUS, or GEORADIUS_RO, which does not store.
    Radius {
        stores: bool,
    },
    /// GEORADIUSBYMEMBER, and its like.
    RadiusByMember {
        stores: bool,
    },
    Search,
    SearchStore,
}

impl Form {
    fn is_search(self) -> bool {
        matches!(self, Self::Search | Self::SearchStore)
    }

    /// Where the key stands that is searched.
    pub(super) fn source_at(self) -> usize {
        if self == Self::SearchStore { 2 } else { 1 }
    }

    /// Where the options begin.
    fn options_at(self) -> usize {
        match self {
            Self::Radius { .. } => 6,
            Self::RadiusByMember { .. } => 5,
            Self::Search => 2,
            Self::SearchStore => 3,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Ascending,
    Descending,
}

/// A call as it was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a> {
    /// Nothing where there is nothing to be searched.
    pub(super) shape: Option<Shape>,
    /// Meters of the unit.
    pub(super) unit: f64,
    pub(super) with_distance: bool,
    pub(super) with_hash: bool,
    pub(super) with_place: bool,
    /// 0 for all.
    pub(super) count: usize,
    /// Whether any members will do, not the nearest.
    pub(super) any: bool,
    pub(super) order: Option<Order>,
    pub(super) store: Option<&'a [u8]>,
    /// Whether distances are stored as scores, not places.
    pub(super) store_distance: bool,
}

/// What is being read.
struct Reader<'a, 'z> {
    form: Form,
    /// What is searched, to find the places of members.
    source: Option<ZSetRef<'z>>,
    env: Env<'z>,
    query: Query<'a>,
    /// The middle, and whether a member gives it; that of a set that is not there is given, but unknown.
    center: Option<(Option<Point>, bool)>,
    outline: Option<Outline>,
}

impl<'a> Query<'a> {
    /// Reads a call, its name included.
    pub(super) fn parse(args: Args<'a>, form: Form, source: Option<ZSetRef<'_>>, env: Env<'_>) -> Result<Self, Error> {
        let query = Self {
            shape: None,
            unit: 1.0,
            with_distance: false,
            with_hash: false,
            with_place: false,
            count: 0,
            any: false,
            order: None,
            store: (form == Form::SearchStore).then(|| args.at(1)),
            store_distance: false,
        };
        let mut reader = Reader { form, source, env, query, center: None, outline: None };
        match form {
            Form::Radius { .. } => {
                reader.center = Some((Some(point(args.from(2))?), false));
                reader.circle(args.from(4))?;
            }
            // Without a set the radius is not even looked at.
            Form::RadiusByMember { .. } if source.is_none() => {}
            Form::RadiusByMember { .. } => {
                reader.center = Some((reader.place_of(args.at(2))?, true));
                reader.circle(args.from(3))?;
            }
            Form::Search | Form::SearchStore => {}
        }
        let mut rest = args.from(form.options_at());
        while !rest.is_empty() {
            rest = rest.from(reader.option(rest)?);
        }
        reader.finish(args.at(0))
    }

    /// How many facts stand beside a member in the answer.
    pub(super) fn facts(&self) -> usize {
        [self.with_distance, self.with_hash, self.with_place].into_iter().filter(|asked| *asked).count()
    }
}

impl<'a> Reader<'a, '_> {
    /// Where a member is; nothing where there is no set.
    fn place_of(&self, member: &[u8]) -> Result<Option<Point>, Error> {
        let Some(zset) = self.source else { return Ok(None) };
        let score = zset.score(self.env, member).ok_or(NO_PLACE_OF_MEMBER)?;
        Ok(Some(Point::of_score(score)))
    }

    /// Reads a radius and its unit.
    fn circle(&mut self, args: Args<'_>) -> Result<(), Error> {
        let radius = parse_f64(args.at(0)).ok_or(RADIUS_NOT_A_FLOAT)?;
        if radius < 0.0 {
            return Err(RADIUS_NEGATIVE);
        }
        self.query.unit = unit(args.at(1))?;
        self.outline = Some(Outline::Circle { radius });
        Ok(())
    }

    /// Reads a width, a height and their unit.
    fn rectangle(&mut self, args: Args<'_>) -> Result<(), Error> {
        let width = parse_f64(args.at(0)).ok_or(WIDTH_NOT_A_FLOAT)?;
        let height = parse_f64(args.at(1)).ok_or(HEIGHT_NOT_A_FLOAT)?;
        if width < 0.0 || height < 0.0 {
            return Err(BOX_NEGATIVE);
        }
        self.query.unit = unit(args.at(2))?;
        self.outline = Some(Outline::Box { width, height });
        Ok(())
    }

    /// Reads one option; gives how many words it took.
    fn option(&mut self, args: Args<'a>) -> Result<usize, Error> {
        let (word, rest) = (args.at(0), args.len() - 1);
        match word {
            word if is(word, "WITHDIST") => self.query.with_distance = true,
            word if is(word, "WITHHASH") => self.query.with_hash = true,
            word if is(word, "WITHCOORD") => self.query.with_place = true,
            word if is(word, "ANY") => self.query.any = true,
            word if is(word, "ASC") => self.query.order = Some(Order::Ascending),
            word if is(word, "DESC") => self.query.order = Some(Order::Descending),
            word if is(word, "COUNT") && rest >= 1 => {
                let count = integer(args.at(1))?;
                self.query.count =
                    usize::try_from(count).ok().filter(|count| *count > 0).ok_or(GEO_COUNT_NOT_POSITIVE)?;
                return Ok(2);
            }
            _ if self.form.is_search() => return self.option_of_search(args),
            _ => return self.option_of_radius(args),
        }
        Ok(1)
    }

    fn option_of_radius(&mut self, args: Args<'a>) -> Result<usize, Error> {
        let distance = is(args.at(0), "STOREDIST");
        let stores = matches!(self.form, Form::Radius { stores: true } | Form::RadiusByMember { stores: true });
        if !stores || args.len() < 2 || !(distance || is(args.at(0), "STORE")) {
            return Err(SYNTAX);
        }
        self.query.store = Some(args.at(1));
        self.query.store_distance = distance;
        Ok(2)
    }

    fn option_of_search(&mut self, args: Args<'_>) -> Result<usize, Error> {
        let (word, rest) = (args.at(0), args.from(1));
        let is_member = matches!(self.center, Some((_, true)));
        let is_place = matches!(self.center, Some((_, false)));
        let is_circle = matches!(self.outline, Some(Outline::Circle { .. }));
        let is_box = matches!(self.outline, Some(Outline::Box { .. }));
        match word {
            word if is(word, "STOREDIST") && self.form == Form::SearchStore => {
                self.query.store_distance = true;
                Ok(1)
            }
            word if is(word, "FROMMEMBER") && !rest.is_empty() && !is_place => {
                self.center = Some((self.place_of(rest.at(0))?, true));
                Ok(2)
            }
            word if is(word, "FROMLONLAT") && rest.len() >= 2 && !is_member => {
                self.center = Some((Some(point(rest)?), false));
                Ok(3)
            }
            word if is(word, "BYRADIUS") && rest.len() >= 2 && !is_box => {
                self.circle(rest)?;
                Ok(3)
            }
            word if is(word, "BYBOX") && rest.len() >= 3 && !is_circle => {
                self.rectangle(rest)?;
                Ok(4)
            }
            _ => Err(SYNTAX),
        }
    }

    /// Checks what goes together, and makes the shape; `name` is the command's as it was called.
    fn finish(mut self, name: &[u8]) -> Result<Query<'a>, Error> {
        if self.query.store.is_some() && self.query.facts() > 0 {
            let is_search = self.form.is_search();
            return Err(if is_search { GEOSEARCHSTORE_OPTIONS } else { GEORADIUS_STORE_OPTIONS });
        }
        if self.form.is_search() && self.center.is_none() {
            return Err(geo_needs_center(name));
        }
        if self.form.is_search() && self.outline.is_none() {
            return Err(geo_needs_outline(name));
        }
        if self.query.any && self.query.count == 0 {
            return Err(GEO_ANY_WITHOUT_COUNT);
        }
        if let (Some((Some(center), _)), Some(outline)) = (self.center, self.outline) {
            self.query.shape = Some(Shape { center, outline, unit: self.query.unit });
        }
        Ok(self.query)
    }
}
