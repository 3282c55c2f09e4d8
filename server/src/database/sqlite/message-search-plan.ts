/**
 * SQL of lists over messages: the conditions of a filter, and the indexes that could lead through them.
 *
 * A list goes through an index from the newest id down, in slices of bounded length, and looks at each
 * row of a slice for the rest of the conditions. Which index leads is not guessed: the one whose slice
 * reaches the furthest down has the fewest rows to look at (message-search-page.ts).
 */
import type { SQLInputValue } from 'node:sqlite';
import { firstIdAt } from '../../id.ts';
import type { SearchFilter } from '../../notification/notification-store.ts';
import { STATUS, statusCodes } from './message-row.ts';

export interface Condition {
  /** Only column names and operators from this file; every value is bound. */
  sql: string;
  values: SQLInputValue[];
}

/** An index in whose order of ids a list can go. */
export interface Lead {
  /** Undefined is the table itself. */
  index: string | undefined;
  /** Each is one stretch of the index in the order of ids; together they hold all that is asked for. */
  stretches: Condition[];
  /** It has all that is asked for and nothing else, in the order of ids: nothing is looked at in vain. */
  whole: boolean;
}

export interface Plan {
  conditions: Condition[];
  leads: Lead[];
  /** Ids below it; as bounds of ids, for every lead. */
  below: number;
  /** Ids from it on. */
  from: number;
}

/** Members of a group that is small enough to go by its users. */
export const SMALL_GROUP = 200;

const MEDIUM = 1;
const SECOND = 1000;

/** @param leadMs by how much ids run ahead of the time of acceptance at most */
export function planOf(
  filter: SearchFilter,
  { leadMs, smallGroup }: { leadMs: number; smallGroup: boolean },
): Plan {
  const { applicationId, before, from, to, status, group } = filter;
  const conditions: Condition[] = [];
  const leads: Lead[] = [
    { index: undefined, stretches: [{ sql: 'TRUE', values: [] }], whole: false },
  ];
  const own: Condition[] =
    applicationId === null ? [] : [{ sql: 'application_id = ?', values: [applicationId] }];
  const ofOwn = own.length > 0;
  const lead = (index: string, ...parts: Condition[]): void => {
    leads.push({ index, stretches: [joined(parts)], whole: false });
  };
  conditions.push(...own);
  if (ofOwn) lead('message_index_application', ...own);
  for (const { column, value, index, scoped } of namesOf(filter)) {
    const condition = { sql: `${column} = ?`, values: [value] };
    conditions.push(condition);
    if (scoped && !ofOwn) lead(`message_index_any_${index}`, condition);
    else lead(`message_index_${index}`, condition, ...(hasApplication(index) ? own : []));
  }
  if (filter.lane !== undefined) {
    const condition = { sql: 'lane = ?', values: [filter.lane] };
    conditions.push(condition);
    if (filter.lane !== MEDIUM) lead('message_index_lane', condition, literal(`lane <> ${MEDIUM}`));
  }
  if (filter.kind !== undefined) {
    const condition = literal(`test = ${filter.kind === 'test' ? 1 : 0}`);
    conditions.push(condition);
    if (filter.kind === 'test') lead('message_index_test', condition);
  }
  if (status !== undefined) {
    const codes = statusCodes(status);
    const isOne = codes.length === 1;
    const sql = isOne ? 'status = ?' : `status IN (${codes.map(() => '?').join(', ')})`;
    conditions.push({ sql, values: codes });
    if (!codes.includes(STATUS.delivered)) {
      const rare = literal(`status <> ${STATUS.delivered}`);
      conditions.push(rare);
      leads.push({
        index: ofOwn ? 'message_index_status' : 'message_index_any_status',
        stretches: codes.map((code) =>
          joined([...own, { sql: 'status = ?', values: [code] }, rare]),
        ),
        whole: false,
      });
    }
  }
  if (group !== undefined) addGroup({ group, own, smallGroup, conditions, leads });
  // Ids and times differ where the clock was set back.
  if (from !== undefined) conditions.push({ sql: 'created_at >= ?', values: [from] });
  if (to !== undefined) conditions.push({ sql: 'created_at < ?', values: [to] });
  for (const each of leads) each.whole = isWhole(each, { conditions, ofOwn });
  const end = to === undefined ? undefined : firstIdAt(Math.ceil((to + leadMs) / SECOND) * SECOND);
  return {
    conditions,
    leads,
    below: Math.min(before ?? Number.MAX_SAFE_INTEGER, end ?? Number.MAX_SAFE_INTEGER),
    from: from === undefined ? 0 : firstIdAt(from),
  };
}

/** Filters for which a column must have a value; each has an index. */
function namesOf(filter: SearchFilter) {
  const names = [
    // `scoped`: its index begins with the application, and there is another one for all of them.
    { column: 'user_id', value: filter.userId, index: 'user', scoped: false },
    { column: 'batch', value: filter.batch, index: 'batch', scoped: false },
    { column: 'template', value: filter.template, index: 'template', scoped: false },
    { column: 'channel', value: filter.channel, index: 'channel', scoped: true },
    { column: 'category', value: filter.category, index: 'category', scoped: true },
  ];
  return names.filter((name): name is (typeof names)[number] & { value: string } => {
    return name.value !== undefined;
  });
}

function hasApplication(index: string): boolean {
  return index !== 'template';
}

function addGroup({
  group,
  own,
  smallGroup,
  conditions,
  leads,
}: Pick<Plan, 'conditions' | 'leads'> & {
  group: string;
  own: Condition[];
  smallGroup: boolean;
}): void {
  conditions.push({
    sql: `EXISTS (SELECT 1 FROM records.user_group AS member
      WHERE member.application_id = message_index.application_id AND member.group_key = ?
        AND member.user_id = message_index.user_id)`,
    values: [group],
  });
  if (!smallGroup) return;
  const members = membersOf(group, own);
  const users = { sql: `user_id IN (SELECT user_id FROM ${members.sql})`, values: members.values };
  const stretch = joined([literal('user_id IS NOT NULL'), users, ...own]);
  leads.push({ index: 'message_index_user', stretches: [stretch], whole: false });
}

/** The members of a group; of all applications, through each of them, since the table is in their order. */
export function membersOf(group: string, own: readonly Condition[]): Condition {
  const application =
    own.length > 0
      ? 'application_id = ?'
      : 'application_id IN (SELECT id FROM records.application)';
  return {
    sql: `records.user_group WHERE ${application} AND group_key = ?`,
    values: [...own.flatMap(({ values }) => values), group],
  };
}

/** The entries of these lie by application first: those of all applications are not in the order of ids. */
const BY_APPLICATION = ['message_index_user', 'message_index_batch'];

function isWhole(
  { index, stretches: [only, ...others] }: Lead,
  { conditions, ofOwn }: { conditions: readonly Condition[]; ofOwn: boolean },
): boolean {
  if (!only || others.length > 0) return false;
  if (!ofOwn && index !== undefined && BY_APPLICATION.includes(index)) return false;
  const said = new Set(only.sql.split(' AND '));
  return conditions.every(({ sql }) => said.has(sql));
}

function literal(sql: string): Condition {
  return { sql, values: [] };
}

export function joined(parts: readonly Condition[]): Condition {
  return {
    sql: parts.map(({ sql }) => sql).join(' AND ') || 'TRUE',
    values: parts.flatMap(({ values }) => values),
  };
}
