import { openNotificationStore } from '../../../test/support/notification-store.ts';
import { runNotificationStoreConformance } from '../../notification/notification-store.conformance.ts';

runNotificationStoreConformance('SQLite', async () => openNotificationStore());
