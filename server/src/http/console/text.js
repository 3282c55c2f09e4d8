/** What the console says, in English and Chinese. Status names and reasons are the API's and stay as they are. */
const WORDS = {
  en: {
    skip: 'Skip to content', activity: 'Activity', send: 'Send', deadLetters: 'Dead letters', keys: 'API keys', channels: 'Channels',
    reference: 'Reference', leave: 'Sign out', otherLanguage: '中文', accepted: 'accepted', pending: 'pending', delivered: 'delivered',
    failed: 'failed', expired: 'expired', suppressed: 'suppressed', cancelled: 'cancelled', status: 'Status', channel: 'Channel', user: 'User',
    template: 'Template', category: 'Category', all: 'all', filter: 'Filter', time: 'Time', recipient: 'Recipient', reason: 'Reason',
    message: 'Message', older: 'Older', nothing: 'No messages in this installation fit the filter.', sendFirst: 'Send a first message',
    resend: 'Resend', cancel: 'Cancel', remove: 'Delete', done: 'Done.', messages: 'Messages', route: 'Route', provider: 'Provider',
    attempts: 'Attempts', attempt: 'Attempt', timeline: 'Timeline', event: 'Event', detail: 'Detail', request: 'Request', test: 'test key',
    to: 'To', address: 'Address', title: 'Title', text: 'Text', redrive: 'Try again', redriveAll: 'Try all again', taken: 'Taken',
    noDeadLetters: 'No message has failed for good.', name: 'Name', kind: 'Kind', scopes: 'Scopes', prefix: 'Begins with', created: 'Created',
    create: 'Create', revoke: 'Revoke', revoked: 'revoked', shownOnce: 'Copy it now; it is shown this once.', simulated: 'Test addresses',
    signInHow: 'Open the admin link that the start printed, or sign in with an API key.', apiKey: 'API key', signIn: 'Sign in',
    linkUsed: 'This admin link has been used or has expired. A restart prints a new one.', problem: 'That did not work',
  },
  zh: {
    skip: '跳到内容', activity: '动态', send: '发送', deadLetters: '死信', keys: 'API 密钥', channels: '渠道', reference: '接口文档', leave: '退出',
    otherLanguage: 'English', accepted: '已接收', pending: '处理中', delivered: '已送达', failed: '失败', expired: '已过期', suppressed: '已抑制',
    cancelled: '已取消', status: '状态', channel: '渠道', user: '用户', template: '模板', category: '类别', all: '全部', filter: '筛选', time: '时间',
    recipient: '接收人', reason: '原因', message: '消息', older: '更早', nothing: '当前系统中没有符合筛选条件的消息。', sendFirst: '发送第一条消息',
    resend: '重新发送', cancel: '取消', remove: '删除', done: '完成。', messages: '消息', route: '路由', provider: '服务商', attempts: '次数', attempt: '尝试',
    timeline: '时间线', event: '事件', detail: '详情', request: '请求', test: '测试密钥', to: '发给', address: '地址', title: '标题', text: '正文',
    redrive: '重试', redriveAll: '全部重试', taken: '已重新投递', noDeadLetters: '没有最终失败的消息。', name: '名称', kind: '类型', scopes: '权限',
    prefix: '开头', created: '创建时间', create: '创建', revoke: '吊销', revoked: '已吊销', shownOnce: '请立即复制，仅显示这一次。', simulated: '测试地址',
    signInHow: '请打开启动时打印的管理链接，或使用 API 密钥登录。', apiKey: 'API 密钥', signIn: '登录', linkUsed: '此管理链接已使用或已过期，重启后会打印新的链接。',
    problem: '操作未成功',
  },
};

const STORED = 'tidings-language';
export let language = localStorage.getItem(STORED) ?? (navigator.language.startsWith('zh') ? 'zh' : 'en');

export function switchLanguage() {
  language = language === 'zh' ? 'en' : 'zh';
  localStorage.setItem(STORED, language);
}

export function text(name) {
  return WORDS[language][name] ?? name;
}
